"""Exact instruction counts, from a plugin of the project's own in QEMU's code generator."""

from __future__ import annotations

import bisect
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bitsmith.backends.c.machines.build import Image
from bitsmith.backends.c.machines.cycles import REFILL, parse, run_from, straight
from bitsmith.backends.c.machines.tools import require_plugin_compiler
from bitsmith.backends.c.text import render
from bitsmith.disk import run_tool
from bitsmith.errors import ArtifactError, InternalError

COUNTED, CALLER = "model_run_in", "measured"


@dataclass(frozen=True)
class Block:
    """Instructions that run one after the other.

    address: of the first. instructions: how many. runs: how often all of them ran; left: how often what ran next was
    not what lies next.
    """

    address: int
    instructions: int
    runs: int
    left: int


@dataclass(frozen=True)
class Counts:
    """What one run of a model executed.

    functions: instructions by function, most first. cycles: estimated, by function, for cores that cycles.py knows.
    """

    functions: Mapping[str, int]
    blocks: tuple[Block, ...]
    cycles: Mapping[str, int] | None = None

    @property
    def total(self) -> int:
        """Instructions in all: those of model_run_in and of everything that it calls."""
        return sum(self.functions.values())


@dataclass(frozen=True)
class Counter:
    """The plugin, and where it writes to.

    listing: the program as `objdump -d --no-show-raw-insn` shows it, to estimate cycles from; None not to.
    """

    image: Image
    out: Path
    listing: str | None = None

    def options(self) -> list[str]:
        """What QEMU is to be given. ArtifactError where the plugin cannot be built."""
        start, _ = self.image.symbols[COUNTED]
        within, size = self.image.symbols[CALLER]
        return ["-plugin", f"{_plugin().path},start={start},within={within},size={size},out={self.out}"]

    def read(self) -> Counts:
        """What was counted in the run that just ended."""
        if not self.out.exists():
            raise ArtifactError(
                "the emulator ran without the counting plugin", fix="Install a QEMU that was built with plugins."
            )
        numbers = (map(int, line.split()) for line in self.out.read_text(encoding="utf-8").splitlines())
        blocks = tuple(sorted((Block(*one) for one in numbers), key=lambda block: block.address))
        executed = _by_function(self.image, blocks, [block.instructions * block.runs for block in blocks])
        return Counts(executed, blocks, None if self.listing is None else self._cycles(blocks, self.listing))

    def _cycles(self, blocks: tuple[Block, ...], listing: str) -> dict[str, int]:
        instructions = parse(listing)
        taken = []
        for block in blocks:
            inside = run_from(instructions, block.address, block.instructions)
            taken.append(straight(inside) * block.runs + REFILL * block.left)
        return _by_function(self.image, blocks, taken)


def _by_function(image: Image, blocks: Sequence[Block], costs: Sequence[int]) -> dict[str, int]:
    """What blocks cost, summed by the function that each begins in; most first."""
    places = sorted((address, name) for name, (address, _) in image.symbols.items())
    starts = [address for address, _ in places]
    summed: dict[str, int] = {}
    for block, cost in zip(blocks, costs, strict=True):
        index = bisect.bisect_right(starts, block.address) - 1
        if index < 0:
            raise InternalError(f"counted instructions at {block.address:#x}, before all functions")
        name = places[index][1]
        summed[name] = summed.get(name, 0) + cost
    return dict(sorted(summed.items(), key=lambda one: -one[1]))


class _Plugin:
    """A shared library in a folder of its own, which goes when it does."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / "count.so"


@cache
def _plugin() -> _Plugin:
    """Built once for as long as this process runs."""
    compiler = require_plugin_compiler()
    folder = tempfile.TemporaryDirectory(prefix="bitsmith-plugin-")
    (Path(folder.name) / "count.c").write_text(render("machine/count.c.j2", {}), encoding="utf-8")
    command = [compiler, "-std=gnu99", "-O2", "-shared", "-fPIC", "count.c", "-o", "count.so"]
    done = run_tool(command, Path(folder.name))
    if done.returncode:
        raise ArtifactError(f"the counting plugin does not compile: {done.stderr.strip()[:500]}", fix="Report this.")
    return _Plugin(folder)
