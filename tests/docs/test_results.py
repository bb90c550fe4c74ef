"""Tables of a results page are replaced, its prose is kept."""

from pathlib import Path

import pytest

from tests.benchmarks.results import begun, replaced

TABLE = "| a |\n| --- |\n| {} |\n"


def test_tables_take_each_others_places() -> None:
    page = f"# Title\n\nWords.\n\n{TABLE.format(1)}\nMore.\n\n{TABLE.format(2)}"
    printed = f"first\n\n{TABLE.format(3)}\nsecond\n\n{TABLE.format(4)}"
    assert replaced(page, printed) == f"# Title\n\nWords.\n\n{TABLE.format(3)}\nMore.\n\n{TABLE.format(4)}"


def test_other_numbers_of_tables_are_refused() -> None:
    with pytest.raises(SystemExit, match="1 tables were printed, for a page of 0"):
        replaced("# Title\n", TABLE.format(1))


def test_a_new_page_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "calibration_speed.py").write_text('"""Seconds of calibration.\n\nusage: so\n"""\n', encoding="utf-8")
    made = begun(tmp_path / "calibration_speed.md", TABLE.format(1))
    assert made.startswith(
        "# Calibration speed\n\nWhat `python -m tests.benchmarks.calibration_speed` measured. Seconds"
    )
    assert made.endswith(f"\n\n{TABLE.format(1)}")
