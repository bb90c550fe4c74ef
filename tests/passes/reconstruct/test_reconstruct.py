"""The pass: weights on their grid, biases that take the mean of all errors out, outputs closer to the float ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.interpreter import run as run_integer
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import Conv, Linear
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal, run

TARGET = Target("test", "none", weight_bits=(4, 8), activation_bits=(4, 8))
SAMPLES = 64


def network(residual: bool = True, head: str = "Gemm") -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """Convolutions, one of them depthwise, around a skip connection, and a head; inputs are correlated."""
    sketch = Sketch(x=("N", 4, 8, 8))
    stem = sketch.add("Relu", sketch.add("Conv", "x", normal(8, 4, 3, 3), normal(8, seed=1), pads=[1, 1, 1, 1]))
    depthwise = sketch.add("Conv", stem, normal(8, 1, 3, 3, seed=2), normal(8, seed=3), group=8, pads=[1, 1, 1, 1])
    branch = sketch.add("Conv", sketch.add("Relu", depthwise), normal(8, 8, 1, 1, seed=4) / 3)
    body = sketch.add("Relu", sketch.add("Add", branch, stem) if residual else branch)
    pooled = sketch.add("Flatten", sketch.add("GlobalAveragePool", body))
    weight = normal(8, 5, seed=5)
    head = sketch.add("MatMul", pooled, weight) if head == "MatMul" else sketch.add("Gemm", pooled, weight, normal(5))
    x = normal(SAMPLES, 4, 8, 8, seed=6).cumsum(axis=3) / 2 + 1
    return sketch.model(head), x.astype(np.float32)


def after(model: onnx.ModelProto, x: np.ndarray[Any, Any], rounding: str, **bits: int) -> tuple[Module, Changes]:
    """The model after a pipeline with `rounding` in the middle, and what that changed."""
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x}))
    weights, activations = bits.get("weights", 4), bits.get("activations", 8)
    ranges = f"quantize-activations{{bits={activations},edges={activations},observer=mse}}"
    decided = f"quantize-weights{{bits={weights}}},{ranges}"
    changes: dict[str, Changes] = {}

    def keep(step: Step) -> None:
        if step.done is not None:
            changes[step.done.name] = step.changes

    text = f"{NORMALISE},calibrate,{decided},{rounding}quantize-biases,integerize"
    Pipeline.parse(text).run(module, [keep])
    return module, changes.get("reconstruct", Changes())


def errors(module: Module, model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the integer graph gives less what the float model does."""
    integer = module.require_integer()
    given = {"x": integer.values["x"].format.quantize(x)}
    (name,) = integer.outputs
    return integer.values[name].format.dequantize(run_integer(integer, given)[name]) - run(model, x=x)[0]


def test_it_prints_and_parses() -> None:
    text = "reconstruct{solver=comq,samples=64}"
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize("head", ["Gemm", "MatMul"])
@pytest.mark.parametrize("activations", [4, 8])
def test_outputs_are_closer_than_those_of_nearest_rounding(head: str, activations: int) -> None:
    model, x = network(head=head)
    plain, _ = after(model, x, "", activations=activations)
    learned, changes = after(model, x, "reconstruct,", activations=activations)
    assert len(changes.made) == 4
    assert np.mean(errors(learned, model, x) ** 2) < 0.5 * np.mean(errors(plain, model, x) ** 2)


def test_biases_take_the_mean_of_every_error_out_of_the_outputs() -> None:
    model, x = network()
    learned, _ = after(model, x, "reconstruct,")
    found = errors(learned, model, x)
    step = learned.require_integer().values[learned.require_integer().outputs[0]].format.scale[0]
    # Rounding of the logits themselves is all that is left of the mean.
    assert np.abs(found.mean(axis=0)).max() < step / 2


def test_weights_are_on_the_grid_and_integerize_recovers_their_integers() -> None:
    model, x = network()
    learned, _ = after(model, x, "reconstruct,")
    operations = [one for one in learned.require_integer() if isinstance(one, Conv | Linear)]
    for node, operation in zip(learned.graph.nodes(*LINEAR), operations, strict=True):
        weight = weight_value(node)
        assert weight.constant is not None
        chosen = learned.plan[weight.name]
        np.testing.assert_allclose(chosen.dequantize(chosen.quantize(weight.constant)), weight.constant, rtol=1e-6)
        assert chosen == operation.weight_format
        assert chosen.bits == 4


def test_it_solves_for_weights_that_make_up_for_earlier_errors() -> None:
    model, x = network()
    resolved, _ = after(model, x, "reconstruct,", activations=4)
    rounded, _ = after(model, x, "reconstruct{resolve=false},", activations=4)
    assert np.mean(errors(resolved, model, x) ** 2) < np.mean(errors(rounded, model, x) ** 2)


def test_ranges_of_few_bits_are_chosen_anew_and_others_kept() -> None:
    model, x = network()
    for activations, changed in ((8, False), (4, True)):
        before, _ = after(model, x, "", activations=activations)
        learned, _ = after(model, x, "reconstruct,", activations=activations)
        kept, _ = after(model, x, "reconstruct{ranges=false},", activations=activations)
        names = [value.name for value in learned.require_integer().values.values()]
        assert any(learned.plan[name] != before.plan[name] for name in names) == changed
        assert all(kept.plan[name] == before.plan[name] for name in names)
        assert all(learned.plan[name].bits == activations for name in names)


def test_a_range_follows_the_finest_channel_of_an_input() -> None:
    """One input channel is loud and nearly ignored, the other quiet and all that counts."""
    sketch = Sketch(x=("N", 2, 4, 4))
    weight = np.zeros((3, 2, 1, 1), np.float32)
    weight[:, 0], weight[:, 1] = 1e-3, 1.0
    logits = sketch.add("Flatten", sketch.add("GlobalAveragePool", sketch.add("Conv", "x", weight, normal(3))))
    x = normal(SAMPLES, 2, 4, 4, seed=1)
    x[:, 0] *= 100
    plain, _ = after(sketch.model(logits), x, "", activations=4)
    learned, _ = after(sketch.model(logits), x, "reconstruct,", activations=4)
    assert learned.plan["x"].scale[0] < 0.2 * plain.plan["x"].scale[0]


def test_a_branch_joined_by_concat_keeps_the_range_that_covers_all() -> None:
    sketch = Sketch(x=("N", 2, 4, 4))
    first = sketch.add("Conv", "x", normal(3, 2, 1, 1), normal(3))
    second = sketch.add("Conv", "x", 9 * normal(3, 2, 1, 1), normal(3))
    model = sketch.model(sketch.add("Concat", first, second, axis=1))
    x = normal(SAMPLES, 2, 4, 4, seed=1)
    learned, _ = after(model, x, "reconstruct,", activations=4)
    formats = {learned.plan[name] for name in learned.require_integer().values if name != "x"}
    assert len(formats) == 1


def test_the_float_network_is_the_one_that_came() -> None:
    """The float graph that is left holds the rounded weights; what it was is in the errors, not in itself."""
    model, x = network(residual=False)
    learned, _ = after(model, x, "reconstruct,", weights=8)
    (name,) = [value.name for value in learned.graph.outputs]
    found = Session(learned.graph).run({"x": x})[name]
    np.testing.assert_allclose(found, run(model, x=x)[0], atol=0.1)


def test_retuned_channels_vary_as_much_as_they_did() -> None:
    """The outputs of a first layer, whose inputs are almost exact, have the standard deviation of the float ones."""
    sketch = Sketch(x=("N", 4, 6, 6))
    sketch_model = sketch.model(sketch.add("Conv", "x", normal(8, 4, 3, 3), normal(8, seed=1)))
    x = normal(SAMPLES, 4, 6, 6, seed=2)
    spread = []
    for retune in ("false", "true"):
        learned, _ = after(sketch_model, x, f"reconstruct{{retune={retune},solver=nearest}},", weights=4)
        (name,) = [value.name for value in learned.graph.outputs]
        found = Session(learned.graph).run({"x": x})[name].std(axis=(0, 2, 3))
        spread.append(np.abs(found / run(sketch_model, x=x)[0].std(axis=(0, 2, 3)) - 1).max())
    assert spread[1] < 0.003 < spread[0]


def test_the_same_seed_gives_the_same_integers() -> None:
    model, x = network()
    first, second = (after(model, x, "reconstruct,")[0].require_integer() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        if isinstance(one, Conv | Linear):
            assert isinstance(other, Conv | Linear)
            np.testing.assert_array_equal(one.weight, other.weight)
            np.testing.assert_array_equal(one.bias, other.bias)


def test_what_comes_before_it_is_asked_for() -> None:
    model, x = network()
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x}))
    with pytest.raises(PipelineError, match="has no format yet"):
        Pipeline.parse(f"{NORMALISE},calibrate,reconstruct").run(module)
    with pytest.raises(PipelineError, match="needs calibration data"):
        Pipeline.parse("reconstruct").run(Module(load_graph(model), TARGET))
    with pytest.raises(PipelineError, match="no solver gptk"):
        Pipeline.parse("reconstruct{solver=gptk}").run(module)


def test_one_sample_is_not_enough() -> None:
    model, x = network()
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x[:1]}))
    decided = "quantize-weights{bits=4},quantize-activations{observer=mse}"
    with pytest.raises(PipelineError, match="two samples"):
        Pipeline.parse(f"{NORMALISE},calibrate,{decided},reconstruct").run(module)


def test_a_price_of_digits_prunes_weights() -> None:
    model, x = network()
    kept, spared = (after(model, x, f"reconstruct{{price={price}}},")[0] for price in (0.0, 0.01))

    def zeros(module: Module) -> int:
        return sum(int((one.weight == 0).sum()) for one in module.require_integer() if isinstance(one, Conv | Linear))

    assert zeros(spared) > 2 * zeros(kept)
    found = np.mean(errors(spared, model, x) ** 2)
    assert np.mean(errors(kept, model, x) ** 2) < found < 0.2 * np.var(run(model, x=x)[0])
    with pytest.raises(PipelineError, match="price=-1"):
        after(model, x, "reconstruct{price=-1},")
