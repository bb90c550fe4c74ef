"""The picture of what is gained shows what the tables say, and asks for nothing from elsewhere."""

import re
from xml.dom import minidom

from docs.generate.picture import FILE, accuracy, drawn, instructions
from docs.generate.tables import number, tables
from tests.docs.pages import ROOT


def test_bars_are_the_tables_figures() -> None:
    text = (ROOT / "tests/benchmarks/mcu.md").read_text(encoding="utf-8")
    row = re.search(r"^\| resnet8_cifar10 \| 8 \| cortex-m4 \| ([\d,]+) \|[^|]*\|[^|]*\| ([\d,]+) ", text, re.MULTILINE)
    assert row is not None
    (group,) = instructions()
    (bar,) = [bar for bar in group.bars if bar.name == "ResNet-8"]
    assert [bar.ours, bar.peer] == [int(row[1].replace(",", "")), int(row[2].replace(",", ""))]

    text = (ROOT / "tests/benchmarks/accuracy.md").read_text(encoding="utf-8")
    found = re.search(
        r"^\| resnet20_cifar10 \(([\d.]+)\) \| W4A4/all \| default \| ([\d.]+) [^|]*\|[^|]*\| ([\d.]+)",
        text,
        re.MULTILINE,
    )
    assert found is not None
    (bar,) = [bar for bar in accuracy()[0].bars if bar.name == "ResNet-20"]
    assert [bar.mark, bar.ours, bar.peer] == [float(figure) for figure in found.groups()]


def test_the_file_is_what_the_tables_say() -> None:
    assert FILE.read_text(encoding="utf-8") == drawn(), "python -m docs.generate.picture draws it again"


def test_it_is_one_file_that_can_be_read() -> None:
    picture = drawn()
    document = minidom.parseString(picture)
    assert document.documentElement is not None
    assert {bar.ours_text for group in [*accuracy(), *instructions()] for bar in group.bars} <= {
        text.firstChild.data for text in document.getElementsByTagName("text")
    }
    assert re.findall(r"(?:href|src|url|@import)[=(\s]", picture) == []


def test_tables_are_read_back() -> None:
    text = "# Title\n\n| a | b |\n| --- | --- |\n| 1,024 (2) |  |\n\n| c |\n| --- |\n| none | more |\n"
    assert list(tables(text)) == [[{"a": "1,024 (2)", "b": ""}], [{"c": "none"}]]
    assert [number("1,024 (2)"), number("0.5"), number("none"), number("")] == [1024, 0.5, None, None]
