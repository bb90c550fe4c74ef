"""Kernels for the DSP extension of Armv7E-M (Cortex-M4, Cortex-M7): two 16-bit products an instruction."""

from __future__ import annotations

from bitsmith.backends.c.kernels.dsp.add import DspAdd
from bitsmith.backends.c.kernels.dsp.average import DspAverage
from bitsmith.backends.c.kernels.dsp.conv import DspConv
from bitsmith.backends.c.kernels.dsp.depthwise import DspDepthwise
from bitsmith.backends.c.kernels.dsp.linear import DspLinear
from bitsmith.backends.c.kernels.dsp.narrow import DspNarrowConv
from bitsmith.backends.c.kernels.dsp.narrow_linear import DspNarrowLinear
from bitsmith.backends.c.kernels.dsp.paired import DspPairedConv
from bitsmith.backends.c.kernels.dsp.paired_linear import DspPairedLinear
from bitsmith.backends.c.kernels.dsp.ternary import DspTernaryConv
from bitsmith.backends.c.kernels.dsp.ternary_linear import DspTernaryLinear

__all__ = [
    "DspAdd",
    "DspAverage",
    "DspConv",
    "DspDepthwise",
    "DspLinear",
    "DspNarrowConv",
    "DspNarrowLinear",
    "DspPairedConv",
    "DspPairedLinear",
    "DspTernaryConv",
    "DspTernaryLinear",
]
