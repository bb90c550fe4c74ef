"""Names as a model brings them, made fit to be told: in errors, on a terminal, in C, HTML and JSON, as names of files.

A name may hold whatever UTF-8 can. Control characters steer terminals, and those that turn the direction of writing
make a line read otherwise than it is (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing); some
exporters write names of thousands of characters, which no file system takes. Ops and domains are left: there, what is
not known is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from bitsmith.errors import ModelError
from bitsmith.printable import printable

LONGEST = 200
"""Characters that a name may have; of a longer one the beginning is kept."""

NAMED: dict[type[Message], tuple[str, ...]] = {
    FunctionProto: ("input", "output"),
    GraphProto: ("name",),
    NodeProto: ("name", "input", "output"),
    TensorProto: ("name",),
    ValueInfoProto: ("name",),
}
"""Where names of values, nodes and graphs stand."""


def with_plain_names(model: ModelProto, where: str) -> ModelProto:
    """`model`, or a copy in which every name is printable and of at most LONGEST characters, and none means another.

    where: what errors call the model. Raises ModelError for text that is not UTF-8, and for names of inputs and outputs
    that would have to be changed: these are what data and artifacts are held by.
    """
    names = {name for message, field in _named(model, where) for name in _texts(message, field)}
    unfit = sorted(name for name in names if _plain(name) != name)
    if not unfit:
        return model
    for value in [*model.graph.input, *model.graph.output]:
        if value.name in unfit:
            raise ModelError(
                f"{_plain(value.name)} has characters that cannot be printed, or more than {LONGEST}",
                where=f"{where}, inputs and outputs",
                fix="Give it another name where the model is exported.",
            )
    chosen: dict[str, str] = {}
    for name in unfit:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        chosen[name] = next(fit for fit in _numbered(f"{_plain(name)}.{mark}") if fit not in names)
        names.add(chosen[name])
    renamed = ModelProto()
    renamed.CopyFrom(model)
    for message, field in _named(renamed, where):
        given = [chosen.get(name, name) for name in _texts(message, field)]
        if isinstance(getattr(message, field), str):
            setattr(message, field, given[0])
        else:
            getattr(message, field)[:] = given
    return renamed


def _plain(name: str) -> str:
    return printable(name)[:LONGEST]


def _numbered(name: str) -> Iterator[str]:
    yield name
    for count in range(1, 10**6):
        yield f"{name}.{count}"


def _texts(message: Message, field: str) -> list[str]:
    held = getattr(message, field)
    is_one = isinstance(held, str | bytes)
    return [held] if is_one else list(held)


def _named(model: ModelProto, where: str) -> Iterator[tuple[Message, str]]:
    """Every message that holds a name, and the field; ModelError for any text in the model that is none.

    Fields of bytes are left alone: to look at the data of a weight is to copy it.
    """
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        texts, messages, lists = _fields(message.DESCRIPTOR)
        for field in texts:
            # What is not UTF-8 comes as bytes.
            if any(isinstance(one, bytes) for one in _texts(message, field)):
                raise ModelError(
                    f"holds text that is not UTF-8, in a {field} of {message.DESCRIPTOR.name}",
                    where=where,
                    fix="The file is damaged: copy or export it again.",
                )
        waiting.extend(getattr(message, field) for field in messages if message.HasField(field))
        for field in lists:
            waiting.extend(getattr(message, field))
        for name in NAMED.get(type(message), ()):
            yield message, name


@cache
def _fields(kind: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The fields of a kind of message that are texts, single messages, and lists of messages."""
    fields = kind.fields
    messages = [one for one in fields if one.type == FieldDescriptor.TYPE_MESSAGE]
    return (
        tuple(one.name for one in fields if one.type == FieldDescriptor.TYPE_STRING),
        tuple(one.name for one in messages if not one.is_repeated),
        tuple(one.name for one in messages if one.is_repeated),
    )
