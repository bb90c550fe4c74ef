"""What the kernels of the DSP extension may sum up in 32 bits, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from bitsmith.backends.c.kernels.dsp.packed import UNIT, settle
from bitsmith.ir.integer import Requantize

INPUTS, FAR = 400, 188
"""Inputs that lie 188 or 189 steps from the zero point, so that padding, which is at it, lies outside their range."""


@pytest.mark.parametrize("bias", [0, -INPUTS * 127 * FAR])
def test_padding_counts_where_inputs_do_not_reach_it(bias: int) -> None:
    """Of 400 products the sum over real inputs passes 2^23 or, with a bias that takes it back, that of padding."""
    rule = Requantize(np.array([1 << 30], np.int32), 40, 0, -128, 127)
    operation = SimpleNamespace(requantize=rule, bias=np.array([bias], np.int32))
    site = SimpleNamespace(x=SimpleNamespace(zero_point=-128), ranges=[SimpleNamespace(lowest=60, highest=61)])
    rows = np.full((1, INPUTS), 127, np.int8)
    assert INPUTS * 127 * FAR >= 1 << (31 - UNIT)
    assert settle(site, rows, operation, UNIT) is None


def test_what_fits_is_left_as_it_is() -> None:
    rule = Requantize(np.array([1 << 30], np.int32), 40, 0, -128, 127)
    operation = SimpleNamespace(requantize=rule, bias=np.array([7], np.int32))
    site = SimpleNamespace(x=SimpleNamespace(zero_point=-128), ranges=[SimpleNamespace(lowest=-128, highest=127)])
    settled = settle(site, np.full((1, 4), 100, np.int8), operation, UNIT)
    assert settled is not None
    assert settled.bias.tolist() == [7 + 128 * 400]
