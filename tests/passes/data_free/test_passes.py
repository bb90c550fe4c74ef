"""The data-free passes on a small model: what they make, what they say, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bitsmith.data_free import require_one_source, without_data
from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.manager import Pipeline, Step
from bitsmith.module import DISTILLED, NOISE, Module
from bitsmith.pipelines import NORMALISE
from bitsmith.recipe import Recipe
from bitsmith.target import Target
from tests.sketch import Sketch, normal

Array = np.ndarray[Any, Any]
TARGET = Target("test", "none")
RECORDING = NORMALISE.replace("fold-batch-norm", "record-batch-norms,fold-batch-norm", 1)
SMALL = "distill-inputs{samples=16,batch=8,steps=30}"


def hidden() -> Array:
    """The data that the small model was made on, of which only the running statistics are left: slow waves."""
    waves = normal(64, 3, 8, 8, seed=11).cumsum(axis=2).cumsum(axis=3)
    return (0.3 * waves + np.array([1.0, -2.0, 0.5]).reshape(1, 3, 1, 1)).astype(np.float32)


def small(*, norms: bool = True) -> onnx.ModelProto:
    """Two convolutions, normalised or not, whose running statistics are those on the hidden data."""
    sketch = Sketch(x=("N", 3, 8, 8))
    value = "x"
    for index in range(2):
        value = sketch.add("Conv", value, normal(4, 3 + index, 3, 3, seed=index), normal(4, seed=7), pads=[1, 1, 1, 1])
        if norms:
            seen = Session(load_graph(sketch.model(value))).run({"x": hidden()})[value]
            moments = [seen.mean(axis=(0, 2, 3)), seen.var(axis=(0, 2, 3))]
            value = sketch.add("BatchNormalization", value, normal(4, seed=2), normal(4, seed=3), *moments)
        value = sketch.add("Relu", value)
    flat = sketch.add("Flatten", sketch.add("GlobalAveragePool", value))
    return sketch.model(sketch.add("Gemm", flat, normal(5, 4), normal(5), transB=1))


def after(pipeline: str, *, norms: bool = True, **known: Any) -> tuple[Module, list[str]]:
    """The small model after a pipeline, and the notes of its passes."""
    module = Module(load_graph(small(norms=norms)), TARGET, **known)
    steps: list[Step] = []
    Pipeline.parse(pipeline).run(module, [steps.append])
    return module, [note for step in steps for note in step.changes.notes]


def samples_of(module: Module) -> Array:
    assert module.calibration is not None
    return np.concatenate([batch["x"] for batch in module.calibration.batches(8)])


def test_distilled_inputs_come_nearer_to_the_running_statistics_than_noise() -> None:
    distances = []
    for pipeline in (f"{RECORDING},distill-inputs{{samples=16,batch=8,steps=0}}", f"{RECORDING},{SMALL}"):
        module, _ = after(pipeline)
        assert module.batch_norms is not None
        model = load_graph(small())
        names = [norm.operand(0).name for norm in model.nodes("BatchNormalization")]
        taps = Session(model, names).run({"x": samples_of(module)})
        distances.append(
            sum(
                float(((taps[name].mean(axis=(0, 2, 3)) - was.mean) ** 2 / was.variance).mean())
                + float(((taps[name].std(axis=(0, 2, 3)) / np.sqrt(was.variance) - 1) ** 2).mean())
                for name, was in module.batch_norms.values.items()
            )
        )
    noise, distilled = distances
    assert distilled < noise / 4


def test_what_it_says_and_makes() -> None:
    module, notes = after(f"{RECORDING},{SMALL}")
    assert module.made_up == DISTILLED
    assert samples_of(module).shape == (16, 3, 8, 8)
    assert "as the first batch normalisation saw it" in notes[0]
    assert "16 inputs distilled from 2 batch normalisations" in notes[1]


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second, other = (samples_of(after(f"{RECORDING},{SMALL}", seed=seed)[0]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_inputs_stay_within_their_range() -> None:
    for norms in (True, False):
        x = samples_of(after(f"{RECORDING},{SMALL}", norms=norms, input_ranges={"x": (-0.5, 0.25)})[0])
        assert -0.5 <= x.min() < x.max() <= 0.25


def test_without_batch_normalisation_noise_stands_in_and_chooses_no_observer() -> None:
    module, notes = after(f"{RECORDING},{SMALL},calibrate,estimate-statistics,quantize-activations", norms=False)
    assert module.made_up == NOISE
    assert any("give --input-range x=LOW,HIGH" in note for note in notes)
    assert any("the model keeps no batch normalisation to distil inputs from" in note for note in notes)
    assert any("ranges by min-max" in note for note in notes)


def test_without_batch_normalisation_pixels_keep_to_a_picture_and_outputs_are_not_clipped() -> None:
    """A colour input is taken to be standard normal; of the last sum, nine deviations of what propagates."""
    module, _ = after(f"{RECORDING},{SMALL},calibrate,estimate-statistics", norms=False)
    wider, _ = after(f"{RECORDING},{SMALL},calibrate,estimate-statistics{{outputs=18}}", norms=False)
    found, twice = module.require_statistics().values, wider.require_statistics().values
    (given,), (made,) = module.graph.inputs, module.graph.outputs
    assert (found[given.name].minimum, found[given.name].maximum) == pytest.approx((-3.0, 3.0))
    assert twice[made.name].maximum - twice[made.name].minimum > 1.5 * (
        found[made.name].maximum - found[made.name].minimum
    )
    assert {name for name in found if found[name].maximum != twice[name].maximum} == {made.name}


def test_estimated_ranges_hold_the_hidden_data() -> None:
    module, _ = after(f"{RECORDING},estimate-statistics")
    estimated = module.require_statistics().values
    taps = {"x": hidden(), **Session(module.graph, [name for name in estimated if name != "x"]).run({"x": hidden()})}
    for name, seen in estimated.items():
        outside = (taps[name] < seen.minimum) | (taps[name] > seen.maximum)
        assert outside.mean() < 1e-3


def test_estimated_statistics_keep_second_moments() -> None:
    module, _ = after(f"{RECORDING},{SMALL},calibrate{{grams=true}},estimate-statistics")
    assert len(module.require_statistics().grams) == 3


@pytest.mark.parametrize("name", ["distill-inputs", "estimate-statistics"])
def test_they_need_what_was_recorded(name: str) -> None:
    with pytest.raises(PipelineError, match="Put record-batch-norms before fold-batch-norm"):
        after(f"{NORMALISE},{name}")


@pytest.mark.parametrize("option", ["samples=0", "batch=1", "steps=-1", "rate=0"])
def test_options_that_make_no_sense(option: str) -> None:
    with pytest.raises(PipelineError, match=option):
        after(f"{RECORDING},distill-inputs{{{option}}}")


def test_corrected_biases_keep_the_means_of_outputs() -> None:
    """Of a model without padding, on the samples whose means they were corrected with."""
    sketch = Sketch(x=("N", 4, 5, 5))
    first = sketch.add("Relu", sketch.add("Conv", "x", normal(6, 2, 1, 1), normal(6), group=2))
    flat = sketch.add("Reshape", first, sketch.hold(np.array([0, -1], np.int64)))
    model = sketch.model(sketch.add("Gemm", flat, normal(3, 150), normal(3), transB=1))
    x = normal(64, 4, 5, 5) + 1
    target = Target("test", "none", weight_bits=(3,))
    errors = []
    for correct in ("", ",correct-biases"):
        module = Module(load_graph(model), target, Dataset.from_arrays({"x": x}))
        Pipeline.parse(f"{NORMALISE},calibrate,quantize-weights{{bits=3}}{correct}").run(module)
        names = [node.output.name for node in module.graph.nodes(*LINEAR)]
        plain = Session(load_graph(model), names).run({"x": x})
        for node in module.graph.nodes(*LINEAR):
            # One layer at a time, on the inputs that the float model gives it.
            copy = module.graph.copy()
            for other in copy.nodes(*LINEAR):
                weight = weight_value(other)
                assert weight.constant is not None
                if other.name == node.name:
                    chosen = module.plan[weight.name]
                    weight.constant = chosen.dequantize(chosen.quantize(weight.constant)).astype(np.float32)
                else:
                    original = load_graph(model).value(other.operand(2).name).constant
                    assert original is not None
                    other.operand(2).constant = original
            rounded = Session(copy, [node.output.name]).run({"x": x})[node.output.name]
            off = np.moveaxis(rounded - plain[node.output.name], 1, 0)
            errors.append(float(np.abs(off.reshape(len(off), -1).mean(axis=1)).max()))
    assert min(errors[:2]) > 1e-3
    assert max(errors[2:]) < 1e-4


def test_correction_needs_formats() -> None:
    with pytest.raises(PipelineError, match="Put quantize-weights before correct-biases"):
        after(f"{RECORDING},estimate-statistics,correct-biases")


def test_where_the_passes_are_put() -> None:
    names = [one.name for one in without_data(Recipe().passes(TARGET)).passes]
    at = names.index("calibrate")
    assert names[at - 1 : at + 2] == ["distill-inputs", "calibrate", "estimate-statistics"]
    assert names.index("record-batch-norms") == names.index("fold-batch-norm") - 1
    own = f"{RECORDING},estimate-statistics,quantize-weights"
    assert str(without_data(Pipeline.parse(own))) == own


def test_mistakes() -> None:
    free = Recipe(data_free=True)
    with pytest.raises(PipelineError, match="no pass of this pipeline takes statistics"):
        Recipe(pipeline="fold-constants", data_free=True).passes(TARGET)
    with pytest.raises(PipelineError, match="Give --calibration or --data-free, not both"):
        require_one_source(free.passes(TARGET), free, given=True)
    ranged = Recipe(input_ranges={"x": (0.0, 1.0)})
    with pytest.raises(PipelineError, match="an input range has no effect beside calibration data"):
        require_one_source(ranged.passes(TARGET), ranged, given=True)
