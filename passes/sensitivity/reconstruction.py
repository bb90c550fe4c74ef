"""The error that learned rounding leaves in each layer, by what an error there costs at the outputs."""

from __future__ import annotations

from bitsmith.passes.sensitivity.direct import weight_losses
from bitsmith.passes.sensitivity.learned_rounding import Learned
from bitsmith.passes.sensitivity.study import Study, Table

MIDDLE = 4
"""Bits at which the cost of a unit of error is measured, or the nearest there are."""


def weighted_errors(study: Study, found: Learned) -> Table:
    """Squared error of a layer's sums at b bits times nats by squared error, which one run of each layer tells.

    The divergence is a parabola in small errors, so one width stands for all.
    """
    middle = {part.name: min(part.formats, key=lambda bits: (abs(bits - MIDDLE), bits)) for part in study.weights}
    once = {name: {bits: found.constants[name][bits]} for name, bits in middle.items()}
    nats = weight_losses(study, once)
    table: Table = {}
    for name, errors in found.errors.items():
        unit = errors[middle[name]]
        cost = nats[name][middle[name]] / unit if unit > 0 else 0.0
        table[name] = {bits: cost * error for bits, error in errors.items()}
    return table
