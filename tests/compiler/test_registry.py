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


def test_what_a_name_is_short_for_comes_before_what_looks_like_it() -> None:
    assert suggest("fold-bn", ["fold-affine", "fold-batch-norm", "fold-padding"]) == "Did you mean fold-batch-norm?"
    assert suggest("dps", ["depthwise", "dsp"]) == "Did you mean dsp?"


def test_capitals_make_no_difference() -> None:
    assert suggest("ONNXRuntime", ["host", "onnxruntime"]) == "Did you mean onnxruntime?"
    assert suggest("data", ["Data", "image"]) == "Did you mean Data?"
