"""Texts without an end."""

from pathlib import Path

import pytest

from bitsmith.allocation.files import read_allocation
from bitsmith.bounded import LIMIT, read_text
from bitsmith.errors import BitsmithError
from bitsmith.manifest import read_manifest
from bitsmith.recipe import Recipe
from bitsmith.target import read_target


def test_a_text_is_read_whole_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("é" * 4)
    assert read_text(tmp_path / "text", 8) == "éééé"
    with pytest.raises(ValueError, match="more than 7 bytes"):
        read_text(tmp_path / "text", 7)


@pytest.mark.parametrize("read", [Recipe.read, read_target, read_allocation])
def test_what_has_no_end_is_refused(read: object) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no /dev/zero")
    assert callable(read)
    with pytest.raises(BitsmithError, match=f"/dev/zero: .*more than {LIMIT:,} bytes"):
        read("/dev/zero")


def test_a_manifest_of_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(BitsmithError, match=f"is damaged: more than {LIMIT:,} bytes"):
        read_manifest(tmp_path)
