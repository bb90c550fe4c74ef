"""The pass: each part alone, against the whole network run with it rounded."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.divergence import Divergence
from bitsmith.execution.network import Network, layers_of, logits
from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import simulated
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.graph import Graph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.ir.sharing import activation_groups
from bitsmith.manager import Changes, Pipeline
from bitsmith.module import Module
from bitsmith.passes import sensitivity as sensitivity_pass
from bitsmith.passes.sensitivity import METHODS, MeasureSensitivity, study
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal

TARGET = Target(
    "test", "none", weight_bits=(2, 3, 4, 8), activation_bits=(3, 4, 8), granularities=("channel", "tensor")
)
SAMPLES = 24


def network() -> tuple[onnx.ModelProto, npt.NDArray[np.float32]]:
    """A skip connection, a pool by maximum, a concatenation, a constant operand, a depthwise layer, and a head."""
    sketch = Sketch(x=("N", 4, 8, 8))
    stem = sketch.add("Relu", sketch.add("Conv", "x", normal(8, 4, 3, 3), normal(8, seed=1), pads=[1, 1, 1, 1]))
    depthwise = sketch.add("Conv", stem, normal(8, 1, 3, 3, seed=2), normal(8, seed=3), group=8, pads=[1, 1, 1, 1])
    body = sketch.add("Relu", sketch.add("Add", depthwise, stem))
    pooled = sketch.add("MaxPool", body, kernel_shape=[2, 2], strides=[2, 2])
    branch = sketch.add("Conv", pooled, normal(8, 8, 1, 1, seed=4) / 3)
    joined = sketch.add("Concat", pooled, branch, axis=1)
    shifted = sketch.add("Add", joined, normal(1, 16, 4, 4, seed=7))
    flat = sketch.add("Flatten", sketch.add("GlobalAveragePool", shifted))
    head = sketch.add("Gemm", flat, normal(16, 5, seed=5), normal(5))
    x = normal(SAMPLES, 4, 8, 8, seed=6).cumsum(axis=3) / 2 + 1
    return sketch.model(head), x.astype(np.float32)


def measured(options: str = "", target: Target = TARGET, **given: Any) -> tuple[Module, Sensitivity]:
    model, x = network()
    module = Module(load_graph(model), target, Dataset.from_arrays({"x": x}), **given)
    Pipeline.parse(f"{NORMALISE},calibrate{{grams=true}},measure-sensitivity{{{options}}}").run(module)
    assert module.sensitivity is not None
    return module, module.sensitivity


def distance(module: Module) -> Callable[[Graph], float]:
    """How far another graph's outputs are from the float ones."""
    data = module.require_calibration()
    divergence = Divergence.of(module.graph, data, "softened", SAMPLES)
    batch = next(data.batches(SAMPLES))
    real = Session(module.graph, logits(module.graph)).run(batch)

    def moved(graph: Graph) -> float:
        return divergence(real, Session(graph, logits(graph)).run(batch))

    return moved


def test_a_weight_loses_what_the_whole_network_loses_with_it_rounded() -> None:
    module, sensitivity = measured("method=direct")
    moved = distance(module)
    worst = dict.fromkeys(sensitivity.weights, 0.0)
    for bits in (8, 4, 3):
        scratch = Module(module.graph, TARGET)
        Pipeline.parse(f"quantize-weights{{bits={bits}}}").run(scratch)
        for name in worst:
            alone = simulated(module.graph, {name: scratch.plan[name]})
            worst[name] = max(worst[name], moved(alone))
            assert sensitivity.weights[name][bits] == pytest.approx(worst[name], rel=1e-3, abs=1e-9)


def test_a_group_of_activations_loses_what_the_whole_network_loses_with_it_rounded() -> None:
    """But for a Concat, whose operands are rounded as they are in float."""
    module, sensitivity = measured("method=direct")
    moved = distance(module)
    names = [group[0].name for group in activation_groups(module.graph)]
    assert list(sensitivity.activations) == names
    worst = dict.fromkeys(names, 0.0)
    for bits in (8, 4, 3):
        scratch = Module(module.graph, TARGET, module.calibration, statistics=module.statistics)
        Pipeline.parse(f"quantize-activations{{bits={bits},edges={bits},observer=mse}}").run(scratch)
        for group in activation_groups(module.graph):
            if any(value.producer is not None and value.producer.op == "Concat" for value in group):
                continue
            name = group[0].name
            alone = simulated(module.graph, {one.name: scratch.plan[name] for one in group})
            worst[name] = max(worst[name], moved(alone))
            # Ties round to even there, and up here.
            assert sensitivity.activations[name][bits] == pytest.approx(worst[name], rel=2e-2, abs=1e-9)
    assert sum(loss > 0 for loss in worst.values()) >= 7


@pytest.mark.parametrize("method", METHODS)
def test_losses_fall_with_bits_and_cover_every_part(method: str) -> None:
    module, sensitivity = measured(f"method={method}")
    assert sensitivity.method == method
    assert sensitivity.weights.keys() == {weight_value(node).name for node in module.graph.nodes(*LINEAR)}
    for losses in sensitivity.weights.values():
        assert list(losses) == [2, 3, 4, 8]
    for losses in sensitivity.activations.values():
        assert list(losses) == [3, 4, 8]
    for losses in (*sensitivity.weights.values(), *sensitivity.activations.values()):
        assert all(more >= less for more, less in itertools.pairwise(losses.values()))
    assert min(losses[2] for losses in sensitivity.weights.values()) > 0
    assert Sensitivity.from_json(sensitivity.to_json()) == sensitivity


def test_learned_rounding_loses_less_than_rounding_to_the_nearest() -> None:
    _, nearest = measured("method=direct")
    _, learned = measured("method=learned")
    for bits in (2, 3):
        assert sum(losses[bits] for losses in learned.weights.values()) < 0.7 * sum(
            losses[bits] for losses in nearest.weights.values()
        )


def test_error_times_its_cost_is_near_what_running_each_width_finds() -> None:
    _, learned = measured("method=learned")
    _, weighted = measured("method=reconstruction")
    for name, losses in weighted.weights.items():
        assert losses[4] == pytest.approx(learned.weights[name][4], rel=1e-6)
        assert losses[3] == pytest.approx(learned.weights[name][3], rel=1.0)


@pytest.mark.parametrize("method", ["learned", "reconstruction"])
def test_a_scale_that_channels_share_is_kept(method: str) -> None:
    target = Target("test", "none", weight_bits=(4, 8), granularities=("tensor",))
    _, sensitivity = measured(f"method={method}", target)
    assert all(list(losses) == [4, 8] for losses in sensitivity.weights.values())


def test_pairs_add_what_two_layers_lose_together_beyond_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitsmith.passes.sensitivity.neighbours.SAMPLED", (3,))
    module, sensitivity = measured("method=direct,pairs=true")
    moved = distance(module)
    scratch = Module(module.graph, TARGET)
    Pipeline.parse("quantize-weights{bits=3}").run(scratch)
    pairs = {(first, second) for first, _, second, _ in sensitivity.interactions}
    assert len(pairs) == len(sensitivity.weights) - 1
    for first, second in pairs:
        together = simulated(module.graph, {name: scratch.plan[name] for name in (first, second)})
        alone = [moved(simulated(module.graph, {name: scratch.plan[name]})) for name in (first, second)]
        # Two errors that are small can agree no more than this.
        extra = min(moved(together) - sum(alone), 2 * math.sqrt(math.prod(alone)))
        assert sensitivity.interactions[first, 3, second, 3] == pytest.approx(extra, rel=1e-3)
        expected = extra + sum(sensitivity.weights[name][3] for name in (first, second))
        assert sensitivity.predicted(Allocation({first: 3, second: 3})) == pytest.approx(expected, rel=1e-3)


def test_large_models_are_run_on_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity_pass, "WORK", 1)
    monkeypatch.setattr(sensitivity_pass, "FEWEST", 3)
    model, x = network()
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x}))
    Pipeline.parse(f"{NORMALISE},calibrate").run(module)
    assert MeasureSensitivity().run(module).notes == ["3 samples"]


def test_samples_are_looked_at_in_parts_that_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = measured()
    monkeypatch.setattr(study, "MEMORY", 1 << 16)
    module, parts = measured()
    assert study.batch_size(module.graph, SAMPLES) < SAMPLES / 3
    for tables in ("weights", "activations"):
        for name, losses in getattr(parts, tables).items():
            assert losses == pytest.approx(getattr(whole, tables)[name], rel=0.05, abs=1e-7)


def test_rows_may_be_rounded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = measured()
    monkeypatch.setattr("bitsmith.passes.sensitivity.learned_rounding.AT_ONCE", 256)
    _, parts = measured()
    for name, losses in parts.weights.items():
        assert losses == pytest.approx(whole.weights[name], rel=1e-3, abs=1e-9)


def test_what_was_given_is_kept() -> None:
    known = Sensitivity("elsewhere", {"w": {2: 1.0}})
    module, sensitivity = measured(sensitivity=known)
    assert sensitivity is known
    changes = MeasureSensitivity().run(module)
    assert isinstance(changes, Changes)
    assert not changes.made
    assert "elsewhere" in changes.notes[0]


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    measured(progress=lambda *progress: told.append(progress))
    ours = [one for one in told if one[0].startswith("sensitivity")]
    assert len({task for task, _, _ in ours}) == 2
    assert all(0 <= done <= total for _, done, total in ours)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("method=lerned", "learned"),
        ("divergence=soft", "softened"),
        ("samples=0", "samples=0"),
        ("weights=two", "no list of bits"),
        ("activations=5+6", "none of 5"),
    ],
)
def test_what_makes_no_sense_is_refused(options: str, match: str) -> None:
    with pytest.raises(PipelineError, match=match):
        measured(options)


@pytest.mark.parametrize("method", METHODS)
def test_activations_of_one_part_alone_are_held(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Network] = weakref.WeakSet()
    most = 0

    class Counted(Network):
        def __init__(self, *given: Any) -> None:
            nonlocal most
            super().__init__(*given)
            alive.add(self)
            most = max(most, len(alive))

    monkeypatch.setattr(study, "MEMORY", 1 << 16)
    monkeypatch.setattr(study, "Network", Counted)
    model, x = network()
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x[:12]}))
    Pipeline.parse(f"{NORMALISE},calibrate").run(module)
    assert study.batch_size(module.graph, 12) < 12
    MeasureSensitivity(method, pairs=True, weights="2+4", activations="4").run(module)
    assert most == 1


def test_parts_are_about_as_large_and_an_activation_is_rounded_some_samples_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, _ = measured()
    elements = sum(math.prod(layer.output.sample_shape) for layer in layers_of(module.graph))
    monkeypatch.setattr(study, "MEMORY", 7 * 4 * elements)
    assert [study.batch_size(module.graph, samples) for samples in (7, 8, 15, 1)] == [7, 4, 5, 1]
    x = normal(9, 5, 2, seed=7)
    chosen = Format(IntegerType(4), (0.3,), 2)
    monkeypatch.setattr(study, "AT_ONCE", 20)
    assert np.array_equal(study.samples_on_grid(x, chosen), study.on_grid(x, chosen))
    assert study.samples_on_grid(x[:0], chosen).shape == (0, 5, 2)


@pytest.mark.parametrize("method", ["direct", "learned", "reconstruction"])
def test_layers_may_be_rounded_some_at_a_time(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = f"method={method},weights=2+4,activations=4,samples=8"
    _, whole = measured(options)
    monkeypatch.setattr(study, "ROUNDED", 1)
    assert measured(options)[1] == whole
