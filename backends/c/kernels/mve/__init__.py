"""Kernels for Helium, the vector extension of Armv8.1-M (Cortex-M55, M85): sixteen 8-bit products an instruction."""

from __future__ import annotations

from bitsmith.backends.c.kernels.mve.add import HeliumAdd
from bitsmith.backends.c.kernels.mve.conv import HeliumConv, HeliumNarrowConv
from bitsmith.backends.c.kernels.mve.depthwise import HeliumDepthwise
from bitsmith.backends.c.kernels.mve.linear import HeliumLinear, HeliumNarrowLinear
from bitsmith.backends.c.kernels.mve.ternary import HeliumTernaryConv, HeliumTernaryLinear

__all__ = [
    "HeliumAdd",
    "HeliumConv",
    "HeliumDepthwise",
    "HeliumLinear",
    "HeliumNarrowConv",
    "HeliumNarrowLinear",
    "HeliumTernaryConv",
    "HeliumTernaryLinear",
]
