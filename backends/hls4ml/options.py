"""What a target says about the firmware beyond numbers of bits: its `options`, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    layers:       what single layers have instead, by name: `fc1=resource:16, fc2=latency, conv=4`.
    part:         of the device, as the tool calls it; empty for hls4ml's own choice.
    clock_period: in nanoseconds, as a goal.
    """

    tool: str = "Vitis"
    io_type: str = "io_parallel"
    strategy: str = "latency"
    reuse_factor: int = 1
    part: str = ""
    clock_period: float = 5.0
    layers: str = ""

    def of_layer(self, name: str) -> Options:
        """The same, with the strategy and reuse factor of a layer."""
        return replace(self, **own_options(self.layers).get(name, {}))

    @property
    def has_depthwise(self) -> bool:
        """Whether hls4ml's depthwise convolutions are exact.

        For Quartus and Catapult it leaves their results unwritten; streamed, or by shared multipliers, they differ.
        """
        plain = self.tool in ("Vitis", "Vivado") and (self.io_type, self.strategy) == ("io_parallel", "latency")
        return plain and not self.layers


def own_options(text: str) -> dict[str, dict[str, Any]]:
    """Strategy and reuse factor by layer; ValueError that says which item makes no sense."""
    found = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, separator, asked = item.rpartition("=")
        own: dict[str, Any] = {}
        for part in asked.split(":"):
            if part in STRATEGIES:
                own["strategy"] = part
            elif part.isdecimal() and int(part) >= 1:
                own["reuse_factor"] = int(part)
            else:
                raise ValueError(f"{item!r} is not of the form LAYER=STRATEGY:REUSE, such as fc1=resource:16")
        if not separator or not name.strip():
            raise ValueError(f"{item!r} names no layer")
        found[name.strip()] = own
    return found


CHOICES = {"tool": TOOLS, "io_type": IO_TYPES, "strategy": STRATEGIES}


def options_of(target: Target) -> Options:
    """The options of a target that `refusals` found nothing wrong with."""
    given: dict[str, Any] = dict(target.options)
    return Options(**given)


def refusals(target: Target, layers: Iterable[str]) -> list[Refusal]:
    """Options that there are not, or that make no sense. layers: names of the model's."""
    known = Options.__dataclass_fields__
    found = []
    for name, value in target.options.items():
        where = f"target {target.name}, options, {name}"
        if name not in known:
            found.append(Refusal(where, "there is no such option", suggest(name, known)))
        elif name in CHOICES and value not in CHOICES[name]:
            found.append(Refusal(where, f"{value!r} is not known", suggest(str(value), CHOICES[name])))
        elif name == "layers":
            found += _of_layers(where, str(value), list(layers))
        elif name == "part" and not isinstance(value, str):
            found.append(Refusal(where, f"must be a text, not {value}"))
        elif name == "reuse_factor" and not (isinstance(value, int) and value >= 1):
            found.append(Refusal(where, f"must be an integer from 1, not {value!r}"))
        elif name == "clock_period" and not (isinstance(value, int | float) and value > 0):
            found.append(Refusal(where, f"must be a number of nanoseconds, not {value!r}"))
    return found


def _of_layers(where: str, text: str, layers: list[str]) -> list[Refusal]:
    """What is wrong with options of single layers."""
    try:
        named = own_options(text)
    except ValueError as reason:
        return [Refusal(where, str(reason))]
    return [
        Refusal(where, f"the model has no layer {name}", suggest(name, layers)) for name in named if name not in layers
    ]
