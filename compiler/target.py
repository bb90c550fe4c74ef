"""A target: what a model is compiled for, as data. One TOML file each, ours or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """What one kind of machine can run, and what it costs there.

    backend:               the entry point name of the backend that emits for it.
    weight_bits, activation_bits: legal widths, the first being the default.
    granularities:         legal weight granularities (`channel`, `tensor`), the first being the default.
    symmetric_activations: whether activations must have zero point 0.
    scales:                `free` or `power-of-two`.
    fused:                 float ops that ride in the requantize step of the op before them.
    flash, ram:            bytes; None where the target sets no limit.
    cycles:                cycles of one multiply-accumulate by `weight bits x activation bits`, e.g. "8x8".
    """

    name: str
    backend: str
    description: str = ""
    weight_bits: tuple[int, ...] = (8,)
    activation_bits: tuple[int, ...] = (8,)
    granularities: tuple[str, ...] = ("channel", "tensor")
    symmetric_activations: bool = False
    scales: str = "free"
    fused: tuple[str, ...] = ("Relu", "Clip")
    flash: int | None = None
    ram: int | None = None
    cycles: Mapping[str, float] = field(default_factory=dict)
