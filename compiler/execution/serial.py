"""Frozen records as JSON and arrays, and back: what `integer.onnx` keeps of an integer graph.

One rule per kind of type hint, so that a record needs no code of its own: a dataclass becomes an object of its
fields, an operation one with its kind besides, a tuple a list, and an array a reference to an array that is
kept apart. A field that may hold one of several dataclasses names the type of the one it has. Reading checks
everything, since files get damaged: whatever is not as it was written is an ArtifactError that says where.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_origin

import numpy as np

from bitsmith.errors import ArtifactError
from bitsmith.ir import integer
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph, Operation

Arrays = dict[str, IntegerArray]

KINDS: dict[str, type[Operation]] = {
    name: kind
    for name, kind in vars(integer).items()
    if isinstance(kind, type) and issubclass(kind, Operation) and kind is not Operation
}
ARRAY, KIND, TYPE = "array", "kind", "type"
INFINITIES = ("inf", "-inf")
INT64 = range(-(1 << 63), 1 << 63)


def write(graph: IntegerGraph) -> tuple[dict[str, Any], Arrays]:
    """The graph as JSON data and the arrays it refers to, by name: constants by their own, others by their field's."""
    arrays = dict(graph.constants)
    taken = {*graph.values}

    def keep(path: str, array: IntegerArray) -> str:
        if graph.constants.get(path) is array:
            return path
        while path in taken:
            path += "_"
        taken.add(path)
        arrays[path] = array
        return path

    data: dict[str, Any] = _write(IntegerGraph, graph, "", keep)
    return data, arrays


def read(data: object, arrays: Mapping[str, IntegerArray]) -> IntegerGraph:
    """The graph that `write` made these of. Raises ArtifactError for anything else, InternalError for a bad graph."""
    graph: IntegerGraph = _read(IntegerGraph, data, "graph", arrays)
    return graph


def _write(hint: Any, record: Any, path: str, keep: Callable[[str, IntegerArray], str]) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return {ARRAY: keep(path, record)}
    if origin is types.UnionType:
        return None if record is None else _write_one_of(_present(arguments), record, path, keep)
    if origin is tuple:
        hints = _each(arguments, len(record))
        return [_write(one, item, f"{path}.{i}", keep) for i, (one, item) in enumerate(zip(hints, record, strict=True))]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _write(arguments[1], item, key, keep) for key, item in record.items()}
    if dataclasses.is_dataclass(hint):
        is_operation = isinstance(record, Operation)
        start: dict[str, Any] = {KIND: record.kind} if is_operation else {}
        prefix = f"{record.name}." if is_operation else f"{path}." if path else ""
        kind: Any = type(record)
        items = _fields(kind).items()
        return start | {name: _write(one, getattr(record, name), f"{prefix}{name}", keep) for name, one in items}
    return _write_plain(hint, record)


def _read(hint: Any, data: Any, path: str, arrays: Mapping[str, IntegerArray]) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        name = _plain(str, _object(data, [ARRAY], path)[ARRAY], path)
        if name not in arrays:
            raise _damaged(f"is kept in {name!r}, which is missing", path)
        return arrays[name]
    if origin is types.UnionType:
        return None if data is None else _read_one_of(_present(arguments), data, path, arrays)
    if origin is tuple:
        items = _typed(data, list, path)
        hints = _each(arguments, len(items))
        if len(hints) != len(items):
            raise _damaged(f"has {len(items)} items, not {len(hints)}", path)
        return tuple(
            _read(one, item, f"{path}[{i}]", arrays) for i, (one, item) in enumerate(zip(hints, items, strict=True))
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {
            _plain(str, key, path): _read(arguments[1], item, f"{path}.{key}", arrays)
            for key, item in _typed(data, dict, path).items()
        }
    if dataclasses.is_dataclass(hint):
        return _record(hint, data, path, arrays)
    return _plain(hint, data, path)


def _record(hint: Any, data: Any, path: str, arrays: Mapping[str, IntegerArray], expected: Sequence[str] = ()) -> Any:
    kind = hint
    if hint is Operation:
        name = _typed(data, dict, path).get(KIND)
        if not isinstance(name, str) or name not in KINDS:
            raise _damaged(f"is of an unknown kind {name!r}", path)
        kind, expected = KINDS[name], [KIND]
    hints = _fields(kind)
    items = _object(data, [*expected, *hints], path)
    return kind(**{name: _read(one, items[name], f"{path}.{name}", arrays) for name, one in hints.items()})


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """The type hint of every field of a dataclass, in their order."""
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def _present(arguments: tuple[Any, ...]) -> list[Any]:
    """The types of a union but None."""
    return [one for one in arguments if one is not types.NoneType]


def _write_one_of(hints: list[Any], record: Any, path: str, keep: Callable[[str, IntegerArray], str]) -> Any:
    """A record of one of several types, with the name of its own where there is a choice; JSON tells plain types."""
    if len(hints) == 1:
        return _write(hints[0], record, path, keep)
    if not dataclasses.is_dataclass(record):
        return _write_plain(type(record), record)
    return {TYPE: type(record).__name__, **_write(type(record), record, path, keep)}


def _read_one_of(hints: list[Any], data: Any, path: str, arrays: Mapping[str, IntegerArray]) -> Any:
    if len(hints) == 1:
        return _read(hints[0], data, path, arrays)
    if type(data) in hints:
        return _plain(type(data), data, path)
    name = _typed(data, dict, path).get(TYPE)
    for hint in hints:
        if hint.__name__ == name:
            return _record(hint, data, path, arrays, [TYPE])
    raise _damaged(f"is of an unknown type {name!r}", path)


def _each(arguments: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    """The hint of each item of a tuple: `tuple[T, ...]` has any number."""
    return (arguments[0],) * length if arguments[-1] is Ellipsis else arguments


def _write_plain(hint: Any, record: Any) -> Any:
    """A number or text as JSON has it, which knows no infinity."""
    if hint is float and math.isinf(record):
        return str(float(record))
    return hint(record)


def _plain(hint: type[Any], data: Any, path: str) -> Any:
    if hint is float and isinstance(data, str) and data in INFINITIES:
        return float(data)
    found = _typed(data, hint, path)
    if hint is int and found not in INT64:
        raise _damaged(f"is {found}, beyond 64 bits", path)
    if hint is float and not math.isfinite(found):
        raise _damaged(f"is {found}", path)
    if hint is str and not _is_text(found):
        raise _damaged("is not text", path)
    return found


def _is_text(string: str) -> bool:
    """Whether it can be stored: JSON allows half a surrogate pair, UTF-8 does not."""
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


def _typed(data: Any, kind: type[Any], path: str) -> Any:
    if type(data) is not kind:
        raise _damaged(f"is a {type(data).__name__}, not a {kind.__name__}", path)
    return data


def _object(data: Any, keys: Collection[str], path: str) -> dict[str, Any]:
    found: dict[str, Any] = _typed(data, dict, path)
    if list(found) != list(keys):
        raise _damaged(f"has the fields {', '.join(found)}, not {', '.join(keys)}", path)
    return found


def _damaged(what: str, path: str) -> ArtifactError:
    return ArtifactError(what, where=path, fix="Compile the model again.")
