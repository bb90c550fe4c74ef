"""What errors suggest in place of a name that is not known."""

from bitsmith.registry import suggest


def test_the_nearest_name_is_suggested_or_what_is_known_is_listed() -> None:
    assert suggest("flsh", ["ram", "flash"]) == "Did you mean flash?"
    assert suggest("x", ["ram", "flash"]) == "Known: flash, ram."
    assert suggest("x", []) == ""


def test_a_long_list_is_cut() -> None:
    told = suggest("x", [f"layer{index:03}" for index in range(100)])
    assert told.startswith("Known: layer000, layer001")
    assert told.endswith("layer039 and 60 more.")
