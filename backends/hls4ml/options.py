"""What a target says about the firmware beyond numbers of bits: its `options`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitsmith.backend import Refusal
from bitsmith.registry import suggest
from bitsmith.target import Target

TOOLS = ("Vitis", "Vivado", "Quartus", "Catapult")
IO_TYPES = ("io_parallel", "io_stream")
STRATEGIES = ("latency", "resource")


@dataclass(frozen=True)
class Options:
    """tool:         whose high-level synthesis the project is for.
    io_type:      io_parallel, where layers hand each other whole arrays, or io_stream, pixel by pixel.
    strategy:     latency, or resource for fewer multipliers that are used in turn.
    reuse_factor: how many products share a multiplier; hls4ml takes the nearest that divides a layer.
    part:         of the device, as the tool calls it; empty for hls4ml's own choice.
    clock_period: in nanoseconds, as a goal.
    """

    tool: str = "Vitis"
    io_type: str = "io_parallel"
    strategy: str = "latency"
    reuse_factor: int = 1
    part: str = ""
    clock_period: float = 5.0

    @property
    def has_depthwise(self) -> bool:
        """Whether hls4ml's depthwise convolutions are exact.

        For Quartus and Catapult it leaves their results unwritten; streamed, or by shared multipliers, they differ.
        """
        return self.tool in ("Vitis", "Vivado") and (self.io_type, self.strategy) == ("io_parallel", "latency")


CHOICES = {"tool": TOOLS, "io_type": IO_TYPES, "strategy": STRATEGIES}


def options_of(target: Target) -> Options:
    """The options of a target that `refusals` found nothing wrong with."""
    given: dict[str, Any] = dict(target.options)
    return Options(**given)


def refusals(target: Target) -> list[Refusal]:
    """Options that there are not, or that make no sense."""
    known = Options.__dataclass_fields__
    found = []
    for name, value in target.options.items():
        where = f"target {target.name}, options, {name}"
        if name not in known:
            found.append(Refusal(where, "there is no such option", suggest(name, known)))
        elif name in CHOICES and value not in CHOICES[name]:
            found.append(Refusal(where, f"{value!r} is not known", f"Known: {', '.join(CHOICES[name])}."))
        elif name == "part" and not isinstance(value, str):
            found.append(Refusal(where, f"must be a text, not {value}"))
        elif name == "reuse_factor" and not (isinstance(value, int) and value >= 1):
            found.append(Refusal(where, f"must be an integer from 1, not {value!r}"))
        elif name == "clock_period" and not (isinstance(value, int | float) and value > 0):
            found.append(Refusal(where, f"must be a number of nanoseconds, not {value!r}"))
    return found
