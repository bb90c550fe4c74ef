"""Which activations are alive when, by hand."""

from bitsmith.allocation.memory import Access, activation_bytes, alive, peak_bytes
from bitsmith.target import Target


def test_a_skip_connection_is_alive_until_it_is_added() -> None:
    schedule = [
        Access("conv1", ("x",), "a"),
        Access("conv2", ("a",), "b"),
        Access("conv3", ("b",), "c"),
        Access("add", ("c", "a"), "y"),
    ]
    live = alive(["x"], schedule, ["y"])
    assert live == {"conv1": ("x", "a"), "conv2": ("a", "b"), "conv3": ("a", "b", "c"), "add": ("a", "c", "y")}
    assert peak_bytes(live, {"x": 100, "a": 10, "b": 20, "c": 5, "y": 1}) == 110


def test_an_output_is_alive_to_the_end_and_an_input_from_the_start() -> None:
    schedule = [Access("first", ("x",), "early"), Access("second", ("late",), "y")]
    live = alive(["x", "late"], schedule, ["early", "y"])
    assert live == {"first": ("x", "late", "early"), "second": ("late", "early", "y")}


def test_what_lies_in_one_place_counts_once() -> None:
    schedule = [Access("conv", ("x",), "a"), Access("reshape", ("a",), "b", in_place=True), Access("fc", ("b",), "y")]
    assert alive(["x"], schedule, ["y"]) == {"conv": ("x", "a"), "reshape": ("a",), "fc": ("a", "y")}


def test_a_result_that_nothing_reads_is_alive_where_it_is_made() -> None:
    schedule = [Access("dead", ("x",), "d"), Access("live", ("x",), "y")]
    assert alive(["x"], schedule, ["y"]) == {"dead": ("x", "d"), "live": ("x", "y")}


def test_a_model_without_steps_holds_its_inputs() -> None:
    assert peak_bytes({}, {"x": 7}) == 7


def test_activations_are_packed_unless_the_target_holds_them_otherwise() -> None:
    packed, bytes_each = Target("p", "none"), Target("b", "none", activation_storage=(8, 16))
    assert [activation_bytes(9, bits, packed) for bits in (2, 3, 8, 16)] == [3, 4, 9, 18]
    assert [activation_bytes(9, bits, bytes_each) for bits in (2, 8, 9)] == [9, 9, 18]
