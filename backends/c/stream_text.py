"""A stream as its template takes it: what is called and moved, and where, as C."""

from __future__ import annotations

from dataclasses import dataclass

from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.rolling import Call, Move
from bitsmith.backends.c.rows import row_bytes
from bitsmith.backends.c.stream import FETCHED, Round, Stream
from bitsmith.backends.c.text import called, placed


@dataclass(frozen=True)
class Statement:
    """A call, or the move of `bytes` to the front of the buffer at `to`."""

    call: str = ""
    to: int = 0
    start: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Loop:
    """Statements that are run so many times, the variable `round` counting from 0."""

    times: int
    statements: tuple[Statement, ...]


def statements(stream: Stream) -> list[Loop]:
    """All that a stream does, in order."""
    return [Loop(one.times, tuple(_statement(stream, one, event) for event in one.events)) for one in stream.rounds()]


def _statement(stream: Stream, round: Round, event: Move | Call) -> Statement:
    if isinstance(event, Move):
        size = row_bytes(stream.tensor(event.value))
        return Statement("", stream.buffers[event.value], event.start * size, event.count * size)
    step = stream.step(event)
    if step is None:
        return _fetch(stream, round, event)
    places = [*zip(step.computed, event.places, strict=True), (step.output, event.target)]
    arguments = [_place(stream, round, tensor, row) for tensor, row in places]
    part = stream.part(event)
    if part.scratch:
        arguments.append(placed("scratch", stream.workspace, "int8_t"))
    return Statement(called(part.function, arguments))


def _fetch(stream: Stream, round: Round, event: Call) -> Statement:
    """Rows of the input, from whoever gives them."""
    assert stream.source is not None
    more = round.advance.get(FETCHED, 0)
    first = f"{event.first} + round * {more}" if more and round.times > 1 else f"{event.first}"
    place = _place(stream, round, stream.source, event.target)
    return Statement(called("rows", ["source", first, f"{event.end - event.first}", place]))


def _place(stream: Stream, round: Round, tensor: Tensor, row: int) -> str:
    """C for a row of a value, in its buffer, or in the value itself as the rounds go on."""
    if tensor.name in stream.buffers:
        offset = stream.buffers[tensor.name] + row * row_bytes(tensor)
        return placed("scratch", offset, tensor.ctype)
    name = stream.parameter(tensor)
    length = row_bytes(tensor) // tensor.itemsize
    more = round.advance.get(tensor.name, 0) * length
    start = f" + {row * length}" if row else ""
    return f"{name}{start}" + (f" + round * {more}" if more and round.times > 1 else "")
