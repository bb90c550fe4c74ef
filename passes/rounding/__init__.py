"""Learned rounding: one problem, and solvers of it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bitsmith.passes.rounding.comq import comq
from bitsmith.passes.rounding.gptq import gptq
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Integers, Rounding

Solver = Callable[[Rounding], Integers]

SOLVERS: Mapping[str, Solver] = MappingProxyType({"comq": comq, "gptq": gptq, "nearest": nearest})
"""Each returns int64 (rows, k) within the problem's bounds."""
