"""Layers of a written project watched in its C simulation, by what hls4ml's own helpers have for that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitsmith.backends.hls4ml.project import PROJECT

ALLOCATES = "nnet::trace_type_size = element_size;"
"""The line of a bridge behind which storage for layers is asked for."""


@dataclass(frozen=True)
class Layer:
    """The layer that gives an operation's result: its name, and its variable with its type and elements."""

    operation: str
    name: str
    variable: str
    type: str
    size: int

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Layer:
        """As the interface of a project describes it; KeyError or TypeError for what does not."""
        return cls(
            operation=str(described["operation"]),
            name=str(described["layer"]),
            variable=str(described["variable"]),
            type=str(described["type"]),
            size=int(described["size"]),
        )


def watch(project: Path, layers: Sequence[Layer]) -> None:
    """Change a copy of a project so that each call keeps what these layers make.

    The first call in the top function that has a variable is the one that writes it; the bridge has a place where
    storage is asked for.
    """
    top = project / "firmware" / f"{PROJECT}.cpp"
    text = top.read_text(encoding="utf-8")
    for layer in layers:
        keep = f'nnet::save_layer_output<{layer.type}>({layer.variable}, "{layer.name}", {layer.size});'
        writes = re.search(rf"^ *nnet::.*\b{re.escape(layer.variable)}\b.*$", text, re.MULTILINE)
        if writes is not None:
            text = f"{text[: writes.end()]}\n    {keep}{text[writes.end() :]}"
    top.write_text(text, encoding="utf-8")
    bridge = project / f"{PROJECT}_bridge.cpp"
    storage = [f'(*nnet::trace_outputs)["{layer.name}"] = malloc({layer.size} * element_size);' for layer in layers]
    text = bridge.read_text(encoding="utf-8")
    bridge.write_text(text.replace(ALLOCATES, "\n    ".join([ALLOCATES, *storage])), encoding="utf-8")
