"""The layers of a manifest, each with all that is known of it from the manifest's several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.report.texts import mapping

Figure = float | str | None
"""A ratio in decibels, `lossless` or `no signal`; None where none was taken."""


@dataclass(frozen=True)
class Look:
    """Ratios of a layer after a pass: of its weights, of its output rounded, and of the model's outputs, it alone
    being rounded."""

    after: str
    weights: Figure
    activation: Figure
    output: Figure


@dataclass(frozen=True)
class Layer:
    """One operation of the integer graph.

    index: its place in the graph. row: what the manifest has in `layers`. value: shape and format of what it makes.
    reads: the values that it reads, with theirs. weights: the format of its weights.
    looks: after each pass that changed its figures. so_far: the ratio of what the integer graph makes there.
    choices: how it is done, and why. memory: bytes in use meanwhile. cycles: by the target's table.
    helps: what was tried, where it is among the worst.
    """

    index: int
    row: Mapping[str, Any]
    value: Mapping[str, Any]
    reads: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Any] | None
    looks: tuple[Look, ...]
    so_far: Figure
    choices: tuple[Mapping[str, Any], ...]
    memory: int | None
    cycles: float | None
    helps: Sequence[Mapping[str, Any]] | None

    @property
    def name(self) -> str:
        return str(self.row["name"])

    @property
    def kind(self) -> str:
        return str(self.row["kind"])

    @property
    def macs(self) -> int:
        return int(self.row["macs"])

    @property
    def weight_bits(self) -> float | None:
        """A whole number, or 1.6 of ternary weights."""
        found = self.row["weight_bits"]
        return None if found is None else float(found)

    @property
    def bits(self) -> int:
        """Of what it makes."""
        return int(self.value["format"]["bits"])

    @property
    def alone(self) -> Figure:
        """The ratio of the model's outputs with this layer alone rounded."""
        return self.looks[-1].output if self.looks else None

    @property
    def badness(self) -> float:
        """Less for a layer that costs the outputs more."""
        return float(self.alone) if isinstance(self.alone, int | float) else float("inf")


def layers_of(manifest: Mapping[str, Any]) -> list[Layer]:
    """Every layer, in the order of the graph."""
    explain = mapping(manifest, "explain")
    worst = {one["layer"]: one["helps"] for one in explain.get("worst", ())}
    so_far = mapping(explain, "accumulated_db")
    weights, values = mapping(manifest, "weights"), manifest["values"]
    choices: dict[str, list[Mapping[str, Any]]] = {}
    for one in manifest.get("choices") or ():
        choices.setdefault(one["where"], []).append(one)
    memory = _memory(manifest)
    table = mapping(manifest["target"], "cycles")
    looks = _looks(explain)
    found = []
    for index, row in enumerate(manifest["layers"]):
        name = row["name"]
        reads = {read: values[read] for read in row["inputs"]}
        first = next(iter(reads.values()), None)
        each = None if first is None else table.get(f"{row['weight_bits']}x{first['format']['bits']}")
        found.append(
            Layer(
                index,
                row,
                values[row["output"]],
                reads,
                weights.get(name),
                looks.get(name, ()),
                so_far.get(name),
                tuple(choices.get(name, ())),
                memory.get(name),
                None if each is None else each * row["macs"],
                worst.get(name),
            )
        )
    return found


def _looks(explain: Mapping[str, Any]) -> dict[str, tuple[Look, ...]]:
    """By layer, its figures whenever they changed."""
    found: dict[str, list[Look]] = {}
    for one in explain.get("passes", ()):
        for name, figures in one["layers"].items():
            known = found.setdefault(name, [])
            now = figures["weights_db"], figures["activation_db"], figures["output_db"]
            before = known and (known[-1].weights, known[-1].activation, known[-1].output)
            # Of many layers some have no figure of the outputs: what was found of an earlier pass is not theirs.
            if now not in (before, (None, None, None)):
                known.append(Look(one["pass"], *now))
    return {name: tuple(looks) for name, looks in found.items()}


def _memory(manifest: Mapping[str, Any]) -> dict[str, int]:
    """By operation, the bytes of memory in use at its step."""
    found = manifest.get("memory")
    if found is None:
        return {}
    return {name: in_use(found["blocks"], step) for step, names in enumerate(found["steps"]) for name in names}


def in_use(blocks: Sequence[Mapping[str, Any]], step: int) -> int:
    """Bytes that hold something at a step; those that two share, one being written over the other, count once."""
    spans = sorted(
        (one["offset"], one["offset"] + one["bytes"]) for one in blocks if one["first"] <= step <= one["last"]
    )
    total, reached = 0, 0
    for start, end in spans:
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total
