"""Remember what batch normalisations say of a model's activations, before they are folded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.execution.runtime import FloatArray, Session
from bitsmith.ir.graph import Graph
from bitsmith.ir.moments import BatchNorms, NormalizedValue
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.data_free.inputs import input_moments, noise

PROBES, ELEMENTS = 4, 256
"""Probe inputs, and how many elements of a channel are kept at most."""


@dataclass(frozen=True)
class RecordBatchNorms(Pass):
    """Keep the running mean and variance of every value that a BatchNormalization reads: what training data was like.

    Nothing in the graph changes. Later passes scale and shift channels: they fold the normalisation itself, equalize,
    absorb biases. So the values are kept on a few probe inputs too, from which `located` tells what became of each
    channel.
    """

    name: ClassVar[str] = "record-batch-norms"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        moments = input_moments(module.graph, module.input_ranges)
        random = np.random.default_rng(module.seed)
        probe = {
            value.name: noise((PROBES, *value.sample_shape), moments[value.name], random)
            for value in module.graph.inputs
        }
        read = {}
        for norm in module.graph.nodes("BatchNormalization"):
            if norm.constant(3) is None or norm.constant(4) is None:
                changes.refuse(norm, "its statistics are not constant")
            else:
                read[norm.operand(0).name] = norm
        taken = probed(module.graph, list(read), probe)
        values = {}
        for name, norm in read.items():
            mean, variance = (np.asarray(norm.constant(index), np.float64) for index in (3, 4))
            values[name] = NormalizedValue(mean, variance, taken[name])
            changes.change(norm)
        module.batch_norms = BatchNorms(values, moments, probe)
        return changes


def probed(graph: Graph, names: list[str], probe: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Some elements of each of the named values on the probe inputs, always the same: name -> (channels, elements)."""
    made = [name for name in names if name not in probe]
    batch = {**probe, **(Session(graph, made).run(probe) if made else {})}
    kept = {}
    for name in names:
        channels = np.moveaxis(batch[name], 1, 0).reshape(batch[name].shape[1], -1)
        step = max(1, channels.shape[1] // ELEMENTS)
        # A step that is odd does not fall on the same few columns of every row.
        kept[name] = channels[:, :: step | 1][:, :ELEMENTS].copy()
    return kept
