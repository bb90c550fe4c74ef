"""What rounding does to a model's outputs, measured in float: values rounded to the grids that formats give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.network import logits
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.runtime import Session
from bitsmith.ir.formats import Format
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Graph, Value
from bitsmith.progress import Progress, silent

BATCH = 16


def simulated(graph: Graph, formats: Mapping[str, Format]) -> Graph:
    """A copy of the float graph with each value in `formats` rounded to its grid; activations of 2 to 16 bits.

    Whoever makes several closes each: it holds all weights again.

    Ties of activations round to even, as ONNX has it: good for comparing formats, not a bit-exact account of them.
    """
    copy = graph.copy()
    for value in [value for value in copy.values() if value.name in formats]:
        chosen = formats[value.name]
        if value.constant is None:
            _round(copy, value, chosen)
        else:
            value.constant = chosen.dequantize(chosen.quantize(value.constant))
    return copy


def divergences(
    graph: Graph, plans: Mapping[str, Mapping[str, Format]], data: Dataset, progress: Progress = silent
) -> dict[str, float]:
    """How far each plan's formats move the outputs of `graph` on `data`; values without one stay as they are.

    Returns plan name -> mean Kullback-Leibler divergence in nats, summed over outputs. A Softmax that makes an
    output is left off, so that its input is compared.
    """
    real = _outputs(graph, data)
    moved: dict[str, float] = {}
    for name, formats in plans.items():
        progress("compare formats", 1 + len(moved), 1 + len(plans))
        with closing(simulated(graph, formats)) as copy:
            rounded = _outputs(copy, data)
        moved[name] = sum(float(divergence(one, other).mean()) for one, other in zip(real, rounded, strict=True))
    progress("compare formats", 1 + len(plans), 1 + len(plans))
    return moved


def divergence(wanted: npt.ArrayLike, found: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The Kullback-Leibler divergence, in nats, of softmax(found) from softmax(wanted) along axis 1.

    Arrays of real logits, (n, classes, ...). Returns float64 (n,), the mean over positions behind the classes.
    For outputs that are no logits it still orders small errors, as their variance along axis 1 does.
    """
    p, q = (_log_softmax(np.asarray(logits, dtype=np.float64)) for logits in (wanted, found))
    terms = (np.exp(p) * (p - q)).sum(axis=1)
    per_sample: npt.NDArray[np.float64] = terms.reshape(len(terms), -1).mean(axis=1)
    return per_sample


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _outputs(graph: Graph, data: Dataset) -> list[npt.NDArray[np.float32]]:
    """The outputs over all of `data`, in order: a value that is rounded has another name than the real one."""
    session = Session(graph, logits(graph))
    batch_size = fitting_batch(materialised(graph), BATCH)
    parts = [session.run(batch) for batch in data.batches(batch_size)]
    return [np.concatenate([part[name] for part in parts]) for name in session.outputs]


def _round(graph: Graph, value: Value, chosen: Format) -> None:
    """Put QuantizeLinear and DequantizeLinear behind a value, and a Clip where the type is narrower than its storage.

    ONNX Runtime clips no integers of 16 bits: there the Clip comes last, at the reals that the ends stand for.
    """
    if chosen.base is not None:
        _round_to_powers(graph, value, chosen, math.log(chosen.base))
        return
    kind = chosen.type
    scale = np.float32(chosen.scale[0])
    zero_point = np.array(chosen.zero_point, dtype=kind.storage)

    def parameters() -> list[Value]:
        return [graph.add_constant("scale", np.array(scale)), graph.add_constant("zero_point", zero_point)]

    first = graph.add_node("QuantizeLinear", [value, *parameters()], "quantized", value.shape, kind.storage)
    integers = first.output
    narrower = kind.bits < 8 * kind.storage.itemsize
    in_integers = kind.storage.itemsize == 1
    ends = np.array([kind.lowest, kind.highest])
    if narrower and in_integers:
        limits = [graph.add_constant("end", end) for end in ends.astype(kind.storage)]
        integers = graph.add_node("Clip", [integers, *limits], "clipped", value.shape, kind.storage).output
    made = graph.add_node("DequantizeLinear", [integers, *parameters()], "on_grid", value.shape).output
    if narrower and not in_integers:
        limits = [graph.add_constant("end", end) for end in (ends - chosen.zero_point).astype(np.float32) * scale]
        made = graph.add_node("Clip", [made, *limits], "clipped", value.shape).output
    graph.replace(value, made)
    first.set_input(0, value)


def _round_to_powers(graph: Graph, value: Value, chosen: Format, logarithm: float) -> None:
    """As `_round`, to base^-q: exp(-l * q) with q = round(-log(x) / l), and 0 where q is the last."""
    last = chosen.type.highest

    def held(one: Value | float) -> Value:
        return graph.add_constant("part", np.array(one, np.float32)) if isinstance(one, float) else one

    def node(op: str, *operands: Value | float, kind: npt.DTypeLike = np.float32) -> Value:
        return graph.add_node(op, [held(one) for one in operands], "powers", value.shape, kind).output

    positive = node("Max", value, float(np.finfo(np.float32).tiny))
    steps = node("Round", node("Mul", node("Log", positive), -1 / logarithm))
    clipped = node("Clip", steps, 0.0, float(last))
    real = node("Exp", node("Mul", clipped, -logarithm))
    made = node("Where", node("Less", clipped, float(last), kind=np.bool_), real, 0.0)
    maker = positive.producer
    graph.replace(value, made)
    if maker is not None:
        maker.set_input(0, value)
