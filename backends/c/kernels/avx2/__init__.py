"""Kernels for AVX2, the 256-bit vectors of x86-64: a lane an output, several pixels at a time."""

from __future__ import annotations

from bitsmith.backends.c.kernels.avx2.bytes import Avx2Bytes
from bitsmith.backends.c.kernels.avx2.tables import Avx2Tables
from bitsmith.backends.c.kernels.avx2.words import Avx2Words

__all__ = ["Avx2Bytes", "Avx2Tables", "Avx2Words"]
