"""Changes to inputs that mostly keep their structure: of protobufs, JSON, .npz archives and texts."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

INTEGERS = (0, 1, -1, 2, 3, 7, 8, 16, 64, 255, 256, 4096, 65536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 1e30, 3.4e38, float("inf"), -float("inf"), float("nan"))
TEXTS = (
    "",
    "x",
    "y",
    "w",
    "../x",
    "/etc/passwd",
    "a b",
    "a\nb",
    'a"b',
    "a*/b",
    "{{ 7 * 7 }}",
    "{% for %}",
    "<script>",
    "\x1b[31m",
    "\u202e",
    "\x00",
    "int",
    "é",
    "\U0001f600",
    "0",
    "-1",
    "1e999",
    "9" * 400,
    "n" * 10_000,
    "None",
    "nan",
)
WHOLE = 3
"""One in so many mutations takes bytes as they come."""

Mutation = Callable[[bytes, Random], bytes]


def bytes_of(given: bytes, random: Random) -> bytes:
    """Flip, insert, remove, repeat or cut bytes."""
    changed = bytearray(given)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.choice((1, 1, 2, 4, 16, 64)))
        match random.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at:at] = random.randbytes(random.choice((1, 2, 4, 8)))
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end] * random.choice((1, 2, 50))
            case 4 if at < len(changed):
                changed[at] = random.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def message_of(kind: type[Message], words: Sequence[str]) -> Mutation:
    """Parse, change some fields, serialise. words: texts that mean something, for its names."""

    def mutate(given: bytes, random: Random) -> bytes:
        message = kind()
        try:
            message.ParseFromString(given)
        except DecodeError:
            return bytes_of(given, random)
        if not random.randrange(20):
            return bytes_of(given, random)
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            slots = list(_slots(message))
            owner, field = random.choice(slots)
            _change_field(owner, field, slots, words, random)
        return bytes(message.SerializePartialToString())

    return mutate


Slot = tuple[Message, FieldDescriptor]
DEPTH = 24


def _slots(message: Message, depth: int = 0) -> Iterator[Slot]:
    """Every field of a message and of those in it that is set, and a few that are not."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
    if depth == DEPTH:
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in value if field.is_repeated else [value]:
                yield from _slots(one, depth + 1)
        elif field.name in ("name", "op_type", "input", "output", "dims", "i", "ints", "t", "dim_value", "raw_data"):
            yield message, field  # These decide more than others do.


def _change_field(
    owner: Message, field: FieldDescriptor, slots: Sequence[Slot], words: Sequence[str], random: Random
) -> None:
    name = field.name
    if random.randrange(8) == 0:
        owner.ClearField(name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        _change_messages(owner, field, slots, random)
    elif not field.is_repeated:
        _assign(owner, name, _scalar(field, getattr(owner, name), words, slots, random))
    else:
        values = list(getattr(owner, name))
        at = random.randrange(len(values) + 1)
        match random.randrange(4):
            case 0 if values:
                del values[min(at, len(values) - 1)]
            case 1 if len(values) > 1:
                random.shuffle(values)
            case 2:
                values.insert(at, _scalar(field, values[at - 1] if values else None, words, slots, random))
            case _ if at < len(values):
                values[at] = _scalar(field, values[at], words, slots, random)
        owner.ClearField(name)
        for value in values:
            try:
                getattr(owner, name).append(value)
            except (ValueError, TypeError):
                continue


def _change_messages(owner: Message, field: FieldDescriptor, slots: Sequence[Slot], random: Random) -> None:
    """Remove, double, swap or transplant one of the messages in a field."""
    alike = [
        one
        for other, where in slots
        if where.message_type is field.message_type
        for one in (getattr(other, where.name) if where.is_repeated else [getattr(other, where.name)])
    ]
    if not field.is_repeated:
        if alike:
            getattr(owner, field.name).CopyFrom(_copy(random.choice(alike)))
        return
    held = getattr(owner, field.name)
    match random.randrange(4):
        case 0 if len(held):
            del held[random.randrange(len(held))]
        case 1 if len(held) > 1:
            held.insert(random.randrange(len(held)), held.pop(random.randrange(len(held))))
        case 2 if alike:
            held.append(_copy(random.choice(alike)))
        case 3 if len(held):
            held.append(_copy(held[random.randrange(len(held))]))
        case _:
            held.add()


def _copy(message: Message) -> Message:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _assign(owner: Message, name: str, value: Any) -> None:
    try:
        setattr(owner, name, value)
    except (ValueError, TypeError):
        owner.ClearField(name)


def _scalar(field: FieldDescriptor, value: Any, words: Sequence[str], slots: Sequence[Slot], random: Random) -> Any:
    """Another value for a field, or for one of a repeated field; None where there is none to start from."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return random.choice((random.choice(words), random.choice(TEXTS), random.choice(_names(slots) or [""])))
    if field.type == FieldDescriptor.TYPE_BYTES:
        value = value or b""
        return random.choice((bytes_of(value, random), value[: len(value) // 2], value + bytes(4), b"", value * 2))
    value = value or 0
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return random.choice((*FLOATS, -value, value * 2))
    if field.type == FieldDescriptor.TYPE_ENUM:
        return random.choice([one.number for one in field.enum_type.values])
    return random.choice((value + 1, value - 1, -value, value * 2, random.choice(INTEGERS), random.randrange(32)))


def _names(slots: Sequence[Slot]) -> list[str]:
    """Names of the values in a message, which nodes are joined by."""
    return [one for owner, field in slots if field.name in ("input", "output") for one in getattr(owner, field.name)]


def json_of(words: Sequence[str]) -> Mutation:
    """Parse, change some values, print."""

    def mutate(given: bytes, random: Random) -> bytes:
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            return bytes_of(given, random)
        if not random.randrange(20):
            return bytes_of(given, random)
        for _ in range(random.choice((1, 1, 2, 4))):
            value = _change_json(value, words, random)
        return json.dumps(value).encode()

    return mutate


def lines_of(mutation: Mutation) -> Mutation:
    """Change some lines by the mutation; now and then remove, double or swap some, or take them all as they come."""

    def mutate(given: bytes, random: Random) -> bytes:
        lines = given.split(b"\n")
        if not random.randrange(20):
            return mutation(given, random)
        for _ in range(random.choice((1, 1, 2, 4))):
            at = random.randrange(len(lines))
            match random.randrange(8):
                case 0:
                    lines[at:at] = lines[at : at + 1]
                case 1 if len(lines) > 1:
                    del lines[at]
                case 2:
                    random.shuffle(lines)
                case _:
                    lines[at] = mutation(lines[at], random)
        return b"\n".join(lines)

    return mutate


def _change_json(value: Any, words: Sequence[str], random: Random) -> Any:
    """A value with one part of it changed, removed, doubled or replaced."""
    if isinstance(value, dict) and value and random.randrange(5):
        key = random.choice(list(value))
        match random.randrange(6):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, random.choice([*words, *TEXTS]): value[key]}
            case _:
                return {**value, key: _change_json(value[key], words, random)}
    if isinstance(value, list) and value and random.randrange(5):
        at = random.randrange(len(value))
        match random.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value[:at], value[at], *value[at:]]
            case _:
                return [*value[:at], _change_json(value[at], words, random), *value[at + 1 :]]
    if isinstance(value, int | float) and random.randrange(3):
        return random.choice((value + 1, -value, value * 2, random.choice(INTEGERS), random.choice(FLOATS), 10**400))
    return random.choice(
        (
            None,
            True,
            [],
            {},
            [value],
            {"x": value},
            random.choice(words),
            random.choice(TEXTS),
            random.choice(INTEGERS),
            0.5,
        )
    )


_TOKEN = re.compile(r"\s+|\w+|.", re.DOTALL)


def text_of(words: Sequence[str]) -> Mutation:
    """Replace, insert, remove, double and swap the words of a text."""

    def mutate(given: bytes, random: Random) -> bytes:
        if not random.randrange(8):
            return bytes_of(given, random)
        tokens = _TOKEN.findall(given.decode("utf-8", errors="replace"))
        for _ in range(random.choice((1, 1, 2, 3, 6))):
            at = random.randrange(len(tokens) + 1)
            end = min(len(tokens), at + random.choice((1, 1, 2, 5, 20)))
            word = random.choice((random.choice(words), random.choice(TEXTS), str(random.choice(INTEGERS))))
            match random.randrange(5):
                case 0:
                    tokens[at : at + 1] = [word]
                case 1:
                    tokens[at:at] = [word]
                case 2:
                    del tokens[at:end]
                case 3:
                    tokens[at:at] = tokens[at:end]
                case 4:
                    tokens[at:at] = random.sample(tokens, min(len(tokens), 3))
        return "".join(tokens).encode("utf-8", errors="replace")

    return mutate


def zip_of(given: bytes, random: Random) -> bytes:
    """Unpack an archive, change a member or its name, pack it again."""
    try:
        with zipfile.ZipFile(io.BytesIO(given)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # noqa: BLE001  whatever a broken archive raises
        return bytes_of(given, random)
    if not random.randrange(WHOLE):
        return bytes_of(given, random)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(members)) if members else 0
        match random.randrange(8):
            case 0 if members:
                del members[at]
            case 1 if members:
                members.append((random.choice(("x.npy", "y.npy", "mean.npy", "std.npy", "z", "")), members[at][1]))
            case 2 | 3 | 4 if members:
                name, content = members[at]
                members[at] = (name, _change_header(content, random))
            case _ if members:
                members[at] = (members[at][0], bytes_of(members[at][1], random))
    packed = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name or "?", content)
    return packed.getvalue()


_HEADER_WORDS = ("descr", "'<f4'", "'|O'", "'<i8'", "'|S0'", "'<U4'", "'<c8'", "'>f2'", "'<M8[ns]'", "[('a','<f4')]")
_change_text = text_of((*_HEADER_WORDS, "fortran_order", "shape", "True", "False", "(", ")", ",", "-1", "(0,)", "()"))


def _change_header(content: bytes, random: Random) -> bytes:
    """A .npy with its header rewritten, and the header's length with it."""
    end = content.find(b"\n") + 1
    header = _change_text(content[10:end], random)
    return content[:8] + (len(header) % 65536).to_bytes(2, "little") + header + content[end:]
