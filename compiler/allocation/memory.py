"""The one rule of what activations take in memory: which are alive at each step, and how many bytes each has.

An activation is alive from the step that makes it to the last that reads it; the model's inputs are from the start,
its outputs to the end. A step's inputs and its output are alive together. A Reshape moves nothing: its result lies
where its input does. Whoever plans memory needs at least the bytes that are alive at the fullest step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitsmith.ir.formats import packed_bytes
from bitsmith.target import Target


@dataclass(frozen=True)
class Access:
    """One step of the schedule: the activations it reads and the one it makes, by name."""

    name: str
    reads: tuple[str, ...]
    makes: str
    in_place: bool = False
    """Whether what it makes lies where what it reads first does."""


def alive(inputs: Sequence[str], schedule: Sequence[Access], outputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which tensors are alive at each step, by the step's name; those that lie in one place under the first's name."""
    place: dict[str, str] = {name: name for name in inputs}
    for step in schedule:
        place[step.makes] = place[step.reads[0]] if step.in_place and step.reads else step.makes
    last: dict[str, int] = {}
    for index, step in enumerate(schedule):
        for name in (*step.reads, step.makes):
            last[place[name]] = index
    last.update({place[name]: len(schedule) for name in outputs})
    held = dict.fromkeys(place[name] for name in inputs)
    found = {}
    for index, step in enumerate(schedule):
        held[place[step.makes]] = None
        found[step.name] = tuple(held)
        held = dict.fromkeys(name for name in held if last.get(name, -1) > index)
    return found


def activation_bytes(elements: int, bits: float, target: Target) -> int:
    """Bytes of a tensor: packed, at its own bits, or at the next width that the target holds activations in."""
    width = min((one for one in target.activation_storage if one >= bits), default=bits)
    return packed_bytes(elements, width)


def peak_bytes(live: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]) -> int:
    """Bytes at the fullest step; of the inputs alone where there is no step."""
    return max((sum(sizes[name] for name in names) for names in live.values()), default=sum(sizes.values()))
