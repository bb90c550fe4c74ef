"""ONNX model-local functions, parsed from their texts.

They are written as text so that what stock ONNX Runtime executes can be read, in `function_texts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import onnx
from onnx.parser import parse_function

from bitsmith.errors import InternalError
from bitsmith.execution.function_texts import DOMAIN, FAMILIES, FUNCTIONS, Text

DOMAIN_VERSION = 1
OPSET = 21


def functions(names: Iterable[str]) -> list[onnx.FunctionProto]:
    """These functions and all that they call: each once, after what it calls, by name otherwise."""
    return [_parsed(name) for name in dict.fromkeys(_with_callees(sorted(set(names))))]


def text(name: str) -> Text:
    """A function by name. Those of any number of inputs or axes have one form a number: Concat2, Concat3."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    numbered = re.fullmatch(r"(\D+)(\d+)", name)
    if numbered is None or numbered[1] not in FAMILIES:
        raise InternalError(f"no function of the name {name}")
    return FAMILIES[numbered[1]](int(numbered[2]))


def _with_callees(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield from _with_callees(text(name).callees)
        yield name


def _parsed(name: str) -> onnx.FunctionProto:
    function = text(name)
    imports = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": {DOMAIN_VERSION}]>'
    attributes = f"<{', '.join(function.attributes)}>" if function.attributes else ""
    proto = parse_function(f"{imports} {name} {attributes} ({function.inputs}) => (y) {{ {function.body} }}")
    proto.doc_string = function.meaning
    return proto
