"""Layers one after another, a few rows at a time, each value between them in a buffer of the rows still needed.

Whenever rows of the last value are to be made, the rows that they need are made first, and so on back to values that
are there whole (fused layers: Alwani et al. 2016, doi:10.1109/MICRO.2016.7783725, whose reuse model this is). Nothing
is computed twice, unlike in patches (Lin et al. 2021, MCUNetV2, arXiv:2110.15352): what windows share stays in the
buffer, and moves to its front when new rows come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitsmith.backends.c.rows import Reach, Span


@dataclass(frozen=True)
class Layer:
    """One operation: the value it makes, and by operand, in order, the value it reads and how far it reaches.

    Without operands, its rows come from elsewhere.
    """

    output: str
    operands: tuple[tuple[str, Reach], ...]


@dataclass(frozen=True)
class Move:
    """`count` rows of a buffer, from row `start` of it on, go to its front."""

    value: str
    start: int
    count: int


@dataclass(frozen=True)
class Call:
    """A layer makes the rows `first` to `end` of its value.

    reads:  of each operand, the rows of the value that are needed.
    places: of each operand, the row of its buffer at which these begin; of a whole value, its own row.
    target: the row of the buffer at which the new ones begin.
    """

    layer: int
    first: int
    end: int
    reads: tuple[Span, ...]
    places: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Rolling:
    """Everything that happens, in order.

    rounds:    each ends with the call that makes rows of the last value.
    capacity:  rows of each buffer, by value.
    still:     for each round, by whole value, the first row that its last call and later ones need, and how many rows
               of the last value there are after it.
    """

    rounds: tuple[tuple[Move | Call, ...], ...]
    capacity: Mapping[str, int]
    still: tuple[tuple[Mapping[str, int], int], ...]


def roll(layers: Sequence[Layer], heights: Mapping[str, int], at_once: int) -> Rolling:
    """The order in which `layers`, the last of which makes what is asked for, make `at_once` rows at a time.

    heights: rows of every value that they read or make.
    """
    return _Roller(layers, heights, at_once).run()


class _Roller:
    """How far each value has come.

    made: rows of a value that there are, or have been. starts: the row of the value at the front of its buffer.
    """

    def __init__(self, layers: Sequence[Layer], heights: Mapping[str, int], at_once: int) -> None:
        self.layers, self.heights, self.at_once = layers, heights, at_once
        self.makers = {layer.output: index for index, layer in enumerate(layers)}
        self.made = dict.fromkeys(self.makers, 0)
        self.starts = dict.fromkeys(self.makers, 0)
        self.capacity = {layer.output: 0 for layer in layers[:-1]}
        self.whole = {name for layer in layers for name, _ in layer.operands if name not in self.makers}
        self.events: list[Move | Call] = []
        self.readers: dict[str, list[tuple[str, Reach]]] = {}
        for layer in layers:
            for name, reach in layer.operands:
                self.readers.setdefault(name, []).append((layer.output, reach))

    def run(self) -> Rolling:
        last = self.layers[-1].output
        rounds, still = [], []
        while self.made[last] < self.heights[last]:
            self.events = []
            self.gather(self.layers[-1])
            needed = {name: self.needed(name) for name in self.whole}
            self.make(self.layers[-1])
            rounds.append(tuple(self.events))
            still.append((needed, self.made[last]))
        return Rolling(tuple(rounds), self.capacity, tuple(still))

    def reads(self, layer: Layer) -> tuple[Span, ...]:
        """What a layer's next rows need of its operands."""
        first = self.made[layer.output]
        end = min(first + self.at_once, self.heights[layer.output])
        return tuple(reach.of(first, end, self.heights[name]) for name, reach in layer.operands)

    def gather(self, layer: Layer) -> None:
        """Make whatever is missing for a layer's next rows."""
        for (name, _), span in zip(layer.operands, self.reads(layer), strict=True):
            while name in self.makers and self.made[name] < span.end:
                maker = self.layers[self.makers[name]]
                self.gather(maker)
                self.make(maker)

    def make(self, layer: Layer) -> None:
        """Make a layer's next rows, for which all is there."""
        name, reads = layer.output, self.reads(layer)
        first = self.made[name]
        end = min(first + self.at_once, self.heights[name])
        if name in self.capacity:
            self.drop(name)
            self.capacity[name] = max(self.capacity[name], end - self.starts[name])
        places = tuple(
            span.first - self.starts.get(one, 0) for (one, _), span in zip(layer.operands, reads, strict=True)
        )
        target = first - self.starts[name]
        self.events.append(Call(self.makers[name], first, end, reads, places, target))
        self.made[name] = end

    def drop(self, name: str) -> None:
        """Move the rows that are still needed to the front of their buffer."""
        start = min(self.needed(name), self.made[name])
        if self.starts[name] < start < self.made[name]:
            self.events.append(Move(name, start - self.starts[name], self.made[name] - start))
        self.starts[name] = start

    def needed(self, name: str) -> int:
        """The first row of a value that any layer's next rows need; all its rows where none does."""
        found = self.heights[name]
        for output, reach in self.readers.get(name, ()):
            made = self.made[output]
            if made < self.heights[output]:
                found = min(found, reach.of(made, made + 1, self.heights[name]).first)
        return found
