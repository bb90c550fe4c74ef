"""Knots and the lines between them: the rule by hand, and every function within a step of its table at every input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitsmith.importing.load import load_graph
from bitsmith.ir.elementwise import FUNCTIONS
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Function, InterpolatedTable
from bitsmith.ir.interpolation import Knots, fitted, interpolated, written_out
from bitsmith.passes.integerize.tables import tabulated
from tests.compiler.ir.test_elementwise import DOMAINS, FORMS, model_of

INT16 = IntegerType(16)
WHOLE = 2 << 16
"""Bytes of a table with all entries."""


def operation_of(kept: Knots) -> InterpolatedTable:
    rule = kept.knots, kept.starts, kept.places, kept.segment_places, kept.lowest, kept.highest
    return InterpolatedTable("table", ("x",), "y", *rule, Function("Sigmoid"))


def formats_of(op: str, attributes: dict[str, Any], symmetric: bool) -> tuple[Format, Format]:
    """Of a typical range of inputs, and of what the function makes of it."""
    low, high = DOMAINS.get(op, (-6.0, 6.0))
    (node,) = load_graph(model_of(op, attributes)).nodes()
    made = tabulated(node, np.linspace(low, high, 9999))[0]
    made = made[np.isfinite(made)]
    if symmetric:
        return Format(INT16, (max(-low, high) / 32767,)), Format(INT16, (np.abs(made).max() / 32767,))
    ends = [(min(one.min(), 0.0), max(one.max(), 0.0)) for one in (np.array([low, high]), made)]
    scales = [(top - bottom) / 65535 for bottom, top in ends]
    zeros = [round(-32768 - bottom / scale) for (bottom, _), scale in zip(ends, scales, strict=True)]
    source, result = (Format(INT16, (scale,), zero) for scale, zero in zip(scales, zeros, strict=True))
    return source, result


def test_the_rule_by_hand() -> None:
    # Inputs of 3 bits. The first four lie on one line, from 0 to 4 steps; each of the others has a knot of its own.
    knots = [[0, 64, -64, 24, 23, 160]]
    operation = InterpolatedTable(
        "table", ("x",), "y", np.array(knots), np.array([0, 1]), np.array([2, 0]), 2, -3, 9, Function("Relu")
    )
    # 64 / 16 = 4, -64 / 16 = -4 is clamped; 24 / 16 = 1.5 goes up, 23 / 16 = 1.44 goes down.
    assert interpolated(operation, np.arange(8)).tolist() == [0, 1, 2, 3, 4, -3, 2, 1]
    # A line from 0 to -1 over four inputs: -0.25, -0.5 and -0.75; half goes up.
    down = InterpolatedTable(
        "table", ("x",), "y", np.array([[0, -16]]), np.array([0]), np.array([2]), 2, -3, 9, Function("Relu")
    )
    assert interpolated(down, np.arange(4)).tolist() == [0, 0, 0, -1]
    assert written_out(down, IntegerType(4)).entries.tolist() == [[0, 0, 0, -1]]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("op", "attributes"), FORMS)
def test_every_function_is_within_a_step_of_its_table_everywhere(
    op: str, attributes: dict[str, Any], symmetric: bool
) -> None:
    assert op in FUNCTIONS
    (node,) = load_graph(model_of(op, attributes)).nodes()
    source, result = formats_of(op, attributes, symmetric)
    (reals,) = tabulated(node, source.dequantize(np.arange(-32768, 32768)).astype(np.float64))
    entries = result.quantize(reals)[None]
    kept = fitted((reals / result.scale[0] + result.zero_point)[None], entries)
    assert kept is not None
    found = interpolated(operation_of(kept), np.arange(1 << 16))
    assert np.abs(found - entries[0]).max() <= 1
    assert entries.min() <= found.min() <= found.max() <= entries.max()
    # The steps of Ceil, Floor and Round take most, a knot for every input beside each.
    assert kept.bytes <= WHOLE // 13
    if op in ("Elu", "Gelu", "HardSwish", "LeakyRelu", "Mish", "Sigmoid", "Softplus", "Tanh"):
        assert kept.bytes <= WHOLE // 64


def test_a_pole_has_its_own_knots() -> None:
    x = np.arange(-32768, 32768) / 4096
    with np.errstate(divide="ignore"):
        steps = (4096 / x)[None]
    entries = np.clip(np.floor(np.clip(steps, -1e9, 1e9) + 0.5), -32768, 32767).astype(np.int16)
    kept = fitted(steps, entries)
    assert kept is not None
    assert kept.bytes < WHOLE // 8
    assert np.abs(interpolated(operation_of(kept), np.arange(1 << 16)) - entries[0]).max() <= 1


def test_rows_share_their_segments() -> None:
    x = np.arange(-32768, 32768)
    steps = np.stack([np.where(x < 0, slope * x, x) for slope in (0.1, 0.3)]) + 0.0
    entries = np.floor(steps + 0.5).astype(np.int16)
    kept = fitted(steps, entries)
    assert kept is not None
    assert kept.knots.shape == (2, 129)
    for row in range(2):
        assert np.abs(interpolated(operation_of(kept), np.arange(1 << 16), row) - entries[row]).max() <= 1


def test_what_lines_do_not_serve_stays_a_table() -> None:
    noise = np.random.default_rng(0).integers(-32768, 32767, (1, 1 << 16))
    assert fitted(noise.astype(np.float64), noise.astype(np.int16)) is None
    # Of 256 entries no knots are fewer bytes than one each.
    curve = 100 * np.sin(np.arange(256) / 5.0)[None]
    assert fitted(curve, np.floor(curve + 0.5).astype(np.int8)) is None
