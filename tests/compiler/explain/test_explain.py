"""Layer reports on models of two layers small enough to do by hand."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.dataset import Dataset
from bitsmith.explain.explainer import Explainer
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.grids import TERNARY
from bitsmith.manager import Changes, Pass, Pipeline
from bitsmith.module import Module
from bitsmith.target import Target

Array = npt.NDArray[np.float32]
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(8, 6)).astype(np.float32)
FIRST = RANDOM.normal(size=(5, 6)).astype(np.float32)
SECOND = RANDOM.normal(size=(4, 5)).astype(np.float32)
TARGET = Target("board", "onnxruntime", weight_bits=(8, 4, 2), activation_bits=(8, 4))


@dataclass(frozen=True)
class Formats(Pass):
    """Give the two weights symmetric formats per tensor, of so many bits; 0 leaves one in float."""

    name: ClassVar[str] = "formats"
    first: int = 8
    second: int = 8
    hidden: float = 0.0

    def run(self, module: Module) -> Changes:
        for value, bits in (("w1", self.first), ("w2", self.second)):
            if bits:
                module.plan = module.plan.with_formats({value: by_tensor(module.graph.value(value).constant, bits)})
        if self.hidden:
            module.plan = module.plan.with_formats({"h": Format(IntegerType(8), (self.hidden,))})
        return Changes()


@dataclass(frozen=True)
class Rescale(Pass):
    """Move a factor from the first layer to the second: a power of two, so that floats stay what they were."""

    name: ClassVar[str] = "rescale"
    factor: float = 4.0

    def run(self, module: Module) -> Changes:
        for name, factor in (("w1", self.factor), ("w2", 1 / self.factor)):
            value = module.graph.value(name)
            assert value.constant is not None
            value.constant = value.constant * np.float32(factor)
        return Changes()


@dataclass(frozen=True)
class RescaleOpenly(Rescale):
    """As if it rounded: what it leaves is held to what stood before."""

    name: ClassVar[str] = "rescale-openly"
    preserves: ClassVar[bool] = False


def by_tensor(weight: Array | None, bits: int) -> Format:
    assert weight is not None
    return Format(IntegerType(bits), (float(np.abs(weight).max()) / (2 ** (bits - 1) - 1),))


def on_grid(weight: Array, scale: npt.ArrayLike, bits: int) -> Array:
    """Rounding by hand."""
    most = 2 ** (bits - 1)
    return (np.clip(np.floor(weight / scale + 0.5), -most, most - 1) * scale).astype(np.float32)


def decibels(wanted: Array, found: Array) -> float:
    return float(10 * np.log10((wanted.astype(float) ** 2).sum() / ((wanted.astype(float) - found) ** 2).sum()))


def network(x: Array, first: Array, second: Array) -> Array:
    return np.maximum(x @ first.T, 0) @ second.T


def module(first: Array = FIRST, second: Array = SECOND, target: Target = TARGET) -> Module:
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], name="one", transB=1),
            helper.make_node("Relu", ["a"], ["h"], name="relu"),
            helper.make_node("Gemm", ["h", "w2", "b2"], ["y"], name="two", transB=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [
            numpy_helper.from_array(array, name)
            for name, array in {
                "w1": first,
                "b1": np.zeros(5, np.float32),
                "w2": second,
                "b2": np.zeros(4, np.float32),
            }.items()
        ],
    )
    loaded = load_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    return Module(loaded, target, Dataset.from_arrays({"x": X}, {"x": (6,)}))


def explained(module: Module, *passes: Pass) -> tuple[Explainer, dict[str, object]]:
    explainer = Explainer()
    Pipeline(passes).run(module, [explainer])
    found = explainer.finish(module)
    assert found is not None
    return explainer, found


def test_figures_are_those_of_arithmetic_by_hand() -> None:
    explainer, found = explained(module(), Formats(first=4, second=8, hidden=0.05))
    (look,) = explainer.looks
    hidden = np.maximum(X @ FIRST.T, 0)
    first = on_grid(FIRST, np.abs(FIRST).max() / 7, 4)
    second = on_grid(SECOND, np.abs(SECOND).max() / 127, 8)
    one, two = look.reports["one"], look.reports["two"]
    wanted = network(X, FIRST, SECOND)
    assert one.weights == pytest.approx(decibels(FIRST, first), abs=0.01)
    assert two.weights == pytest.approx(decibels(SECOND, second), abs=0.01)
    assert one.activation == pytest.approx(decibels(hidden, on_grid(hidden, 0.05, 8)), abs=0.01)
    assert two.activation is None
    alone = on_grid(np.maximum(X @ first.T, 0), 0.05, 8) @ SECOND.T
    assert one.output == pytest.approx(decibels(wanted, alone), abs=0.01)
    assert two.output == pytest.approx(decibels(wanted, network(X, FIRST, second)), abs=0.01)
    assert look.reports["x"].output is None
    assert found["samples"] == 8


@pytest.mark.parametrize(("first", "second", "worst"), [(2, 8, "one"), (8, 2, "two")])
def test_the_layer_of_two_bits_is_the_worst(first: int, second: int, worst: str) -> None:
    """And more bits are what helps it, by what they gain by hand."""
    _, found = explained(module(), Formats(first=first, second=second))
    ranked = found["worst"]
    assert isinstance(ranked, list)
    assert [one["layer"] for one in ranked] == [worst, "two" if worst == "one" else "one"]
    weights = {"one": FIRST, "two": SECOND}

    def by_hand(bits: int) -> float:
        scale = np.abs(weights[worst]).max() / (2 ** (bits - 1) - 1)
        changed = {**weights, worst: on_grid(weights[worst], scale, bits)}
        return decibels(network(X, FIRST, SECOND), network(X, changed["one"], changed["two"]))

    gains = {help["change"]: help["gain_db"] for help in ranked[0]["helps"]}
    assert ranked[0]["output_db"] == pytest.approx(by_hand(2), abs=0.01)
    assert gains["4-bit weights"] == pytest.approx(by_hand(4) - by_hand(2), abs=0.02)


@dataclass(frozen=True)
class Ternary(Pass):
    """Give the first weight a ternary format of this scale."""

    name: ClassVar[str] = "ternary"
    scale: float = 1.0

    def run(self, module: Module) -> Changes:
        module.plan = module.plan.with_formats({"w1": Format(IntegerType(2), (self.scale,), grid=TERNARY)})
        return Changes()


def test_more_bits_help_ternary_weights() -> None:
    """More than 2: these over the whole range are ternary again."""
    scale = 0.6 * float(np.abs(FIRST).max())
    _, found = explained(module(), Ternary(scale))
    ranked = found["worst"]
    assert isinstance(ranked, list)
    wanted = network(X, FIRST, SECOND)
    before = decibels(wanted, network(X, np.float32(scale) * np.clip(np.rint(FIRST / scale), -1, 1), SECOND))
    after = decibels(wanted, network(X, on_grid(FIRST, np.abs(FIRST).max() / 7, 4), SECOND))
    assert ranked[0]["output_db"] == pytest.approx(before, abs=0.01)
    gains = {help["change"]: help["gain_db"] for help in ranked[0]["helps"]}
    assert gains["4-bit weights"] == pytest.approx(after - before, abs=0.02)


def tiny_channel() -> tuple[Array, Array]:
    """Channel 0 of the first layer is tiny, and the second layer makes up for it."""
    factors = np.array([1e-3, 1, 1, 1, 1], np.float32)
    return FIRST * factors[:, None], SECOND / factors


@pytest.mark.parametrize(
    ("granularities", "change"),
    [
        (("tensor", "channel"), "per-channel weight scales (--granularity channel)"),
        (("tensor",), "weight channels of equal range (equalize)"),
    ],
)
def test_a_tiny_channel_asks_for_a_scale_of_its_own(granularities: tuple[str, ...], change: str) -> None:
    first, second = tiny_channel()
    target = Target("board", "onnxruntime", granularities=granularities)
    _, found = explained(module(first, second, target), Formats(first=8, second=0))
    worst = found["worst"]
    assert isinstance(worst, list)
    scales = np.abs(first).max(axis=1, keepdims=True) / 127
    wanted = network(X, first, second)
    before = decibels(wanted, network(X, on_grid(first, np.abs(first).max() / 127, 8), second))
    after = decibels(wanted, network(X, on_grid(first, scales, 8), second))
    assert after - before > 20
    assert (worst[0]["layer"], worst[0]["helps"][0]["change"]) == ("one", change)
    assert worst[0]["helps"][0]["gain_db"] == pytest.approx(after - before, abs=0.02)


def test_clipping_asks_for_a_range_that_holds_the_samples() -> None:
    hidden = np.maximum(X @ FIRST.T, 0)
    scale = float(hidden.max()) / 127 / 8
    _, found = explained(module(), Formats(first=0, second=0, hidden=scale))
    (one,) = found["worst"] if isinstance(found["worst"], list) else []
    clipped = 100 * np.mean(hidden > 127.5 * scale)
    whole = on_grid(hidden, float(hidden.max()) / 127, 8) @ SECOND.T
    gain = decibels(hidden @ SECOND.T, whole) - decibels(hidden @ SECOND.T, on_grid(hidden, scale, 8) @ SECOND.T)
    assert one["helps"][0]["change"].startswith(f"a range that holds the {clipped:.2g} % of its output now clipped")
    assert one["helps"][0]["gain_db"] == pytest.approx(gain, abs=0.02)


def test_weights_that_a_preserving_pass_rewrites_are_a_new_reference() -> None:
    explainer, found = explained(module(), Rescale(), Formats(first=8, second=8))
    assert found["reference_after"] == "rescale"
    scaled = FIRST * 4
    by_hand = decibels(scaled, on_grid(scaled, np.abs(scaled).max() / 127, 8))
    assert explainer.looks[-1].reports["one"].weights == pytest.approx(by_hand, abs=0.01)


def test_weights_that_another_pass_rewrites_are_held_to_what_stood_before() -> None:
    formats = Formats(first=8, second=8)
    explainer, found = explained(module(), formats, RescaleOpenly(1.5), formats)
    assert found["reference_after"] == "import"
    scaled = FIRST * np.float32(1.5)
    by_hand = decibels(FIRST, on_grid(scaled, np.abs(scaled).max() / 127, 8))
    assert explainer.looks[-1].reports["one"].weights == pytest.approx(by_hand, abs=0.01)
    # The worst are sought where no layer was made to suit another.
    assert found["ranked_after"] == "formats"
    assert [look.after for look in explainer.looks] == ["formats", "rescale-openly{factor=1.5}", "formats"]


def test_only_passes_that_change_something_are_looked_at_and_figures_repeat() -> None:
    passes = (Formats(4, 4), Formats(4, 4), Formats(4, 8))
    explainer, found = explained(module(), *passes)
    assert [look.after for look in explainer.looks] == ["formats{first=4,second=4}", "formats{first=4}"]
    assert explainer.looks[0].reports["one"] == explainer.looks[1].reports["one"]
    assert json.dumps(explained(module(), *passes)[1]) == json.dumps(found)


def test_without_samples_there_is_nothing_to_explain() -> None:
    alone, explainer = module(), Explainer()
    alone.calibration = None
    Pipeline((Formats(),)).run(alone, [explainer])
    assert explainer.finish(alone) is None


def test_wider_inputs_and_a_corrected_bias_gain_what_they_gain_by_hand() -> None:
    """Weights rounded at 4 bits over inputs whose mean is far from 0 shift every output."""
    shifted, explainer = module(), Explainer()
    x = X + 4
    shifted.calibration = Dataset.from_arrays({"x": x}, {"x": (6,)})
    scale = float(np.abs(x).max()) / 7
    shifted.plan = shifted.plan.with_formats({"x": Format(IntegerType(4), (scale,))})
    Pipeline((Formats(first=0, second=4),)).run(shifted, [explainer])
    found = explainer.finish(shifted)
    assert found is not None
    helps = {one["layer"]: {help["change"]: help["gain_db"] for help in one["helps"]} for one in found["worst"]}
    wanted = network(x, FIRST, SECOND)
    coarse, fine = (on_grid(x, float(np.abs(x).max()) / most, bits) for most, bits in ((7, 4), (127, 8)))
    gain = decibels(wanted, network(fine, FIRST, SECOND)) - decibels(wanted, network(coarse, FIRST, SECOND))
    assert helps["x"]["8-bit input"] == pytest.approx(gain, abs=0.02)
    rounded = network(x, FIRST, on_grid(SECOND, np.abs(SECOND).max() / 7, 4))
    corrected = rounded - (rounded - wanted).mean(axis=0)
    gain = decibels(wanted, corrected) - decibels(wanted, rounded)
    assert helps["two"]["a corrected bias (--correct-biases)"] == pytest.approx(gain, abs=0.02)
