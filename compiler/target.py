"""A target: what a model is compiled for, as data. One TOML file each, ours or the user's own."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from bitsmith import registry
from bitsmith.errors import TargetError
from bitsmith.ir.grids import FORMATS, INTEGERS, TERNARY, TERNARY_BITS
from bitsmith.printable import printable
from bitsmith.tables import Reader, boolean, integer, one_of, read_table, several, shown, size, text

FOLDER = "targets"


@dataclass(frozen=True)
class Target:
    """What one kind of machine can run, and what it costs there.

    backend:               the entry point name of the backend that emits for it.
    weight_bits, activation_bits: legal widths, the first being the default.
    granularities:         legal weight granularities (`channel`, `tensor`, `group`), the first being the default.
    symmetric_activations: whether activations must have zero point 0.
    scales:                `free` or `power-of-two`.
    fused:                 float ops that ride in the requantize step of the op before them.
    flash, ram:            bytes; None where the target sets no limit.
    weight_formats:        legal kinds of weights: `int`, and the grids of `FORMATS` in ir/grids.py.
    cycles:                cycles of one multiply-accumulate by `weight bits x activation bits`, e.g. "8x8", or "1.6x8"
                           of ternary weights. Where there are any, a pair of widths that is not among them is one that
                           the target cannot run.
    code:                  bytes of flash that code takes beside the model's constants; or prices of what code is made
                           of, by names that the backend knows, so that it tells them of each model.
    activation_storage:    widths that activations are held in, in memory, each in the next one that fits: [8, 16] for
                           one or two bytes each. Empty where they are packed at whatever bits they have.
    features:              of the instruction set that kernels are chosen by, e.g. "dsp"; the backend says which.
    toolchain:             prefix of the cross compiler's commands, e.g. "arm-none-eabi-"; empty for the host's own.
    flags:                 of the compiler, that choose the core.
    options:               what only the backend knows of: texts and numbers by name; the backend says which it takes.
    """

    name: str
    backend: str
    description: str = ""
    weight_bits: tuple[int, ...] = (8,)
    activation_bits: tuple[int, ...] = (8,)
    granularities: tuple[str, ...] = ("channel", "tensor")
    symmetric_activations: bool = False
    scales: str = "free"
    fused: tuple[str, ...] = ("Relu", "Clip")
    flash: int | None = None
    ram: int | None = None
    cycles: Mapping[str, float] = field(default_factory=dict)
    weight_formats: tuple[str, ...] = ("int",)
    code: int | Mapping[str, float] = 0
    activation_storage: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    toolchain: str = ""
    flags: tuple[str, ...] = ()
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def weight_widths(self) -> tuple[float, ...]:
        """Bits that a weight may be given by an allocation: the legal ones, and 1.6 where ternary weights are legal."""
        is_ternary = TERNARY.kind in self.weight_formats and TERNARY.bits in self.weight_bits
        return (*self.weight_bits, *((TERNARY_BITS,) if is_ternary else ()))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Target:
        """The target that `to_json` told of; TargetError, naming the field, for what it cannot have told."""
        missing = next((name for name in ("name", "backend") if not fields.get(name)), None)
        if missing is not None:
            raise TargetError("is missing", where=f"target, {missing}")
        blank = cls("", "").to_json()
        values: dict[str, Any] = {}
        for name in [name for name in blank if name in fields and fields[name] != blank[name]]:
            try:
                values[name] = _READERS[name](fields[name])
            except ValueError as reason:
                raise TargetError(str(reason), where=f"target, {name}") from reason
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """All fields, as a TOML file of the target would hold them."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {
            key: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
            for key, value in fields.items()
        }


def _cycles(value: object) -> dict[str, float]:
    """Cycles by bit pair."""
    if not isinstance(value, dict):
        raise ValueError(f'must be a table such as {{"8x8" = 1.5}}, not {shown(value)}')
    for pair, cost in value.items():
        if not re.fullmatch(r"(?:1\.6|[1-9]|1[0-6])x(?:[1-9]|1[0-6])", pair):
            raise ValueError(f'{pair!r} must be weight bits x activation bits, such as "8x8"')
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost <= sys.float_info.max:
            raise ValueError(f"the cycles of {pair} must be a positive number, not {shown(cost)}")
    return {pair: float(cost) for pair, cost in value.items()}


def _code(value: object) -> int | dict[str, float]:
    """Bytes of code, or bytes by what it is made of."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, dict):
        raise ValueError(f"must be an integer of at least 0 or a table such as {{call = 4.5}}, not {shown(value)}")
    if not value:
        raise ValueError("has no prices; code = 0 says that what code takes is not known")
    for name, price in value.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price <= sys.float_info.max:
            raise ValueError(f"the bytes of {shown(name)} must be a number that is not negative, not {shown(price)}")
    return {name: float(price) for name, price in value.items()}


def _options(value: object) -> dict[str, str | int | float]:
    """Texts and numbers by name."""
    if not isinstance(value, dict):
        raise ValueError(f'must be a table such as {{io_type = "io_stream"}}, not {shown(value)}')
    for name, given in value.items():
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise ValueError(f"{name} must be a text or a number, not {shown(given)}")
    return dict(value)


def _line(value: object) -> str:
    """A text that stands in a line: of reports, of comments, on a terminal."""
    line = text(value)
    if printable(line) != line:
        raise ValueError(f"must be one line of characters that can be printed, not {shown(value)}")
    return line


_BITS = several(integer(1, 16))
_READERS: dict[str, Reader] = {
    "name": _line,
    "backend": text,
    "description": _line,
    "weight_bits": _BITS,
    "activation_bits": _BITS,
    "weight_formats": several(one_of(INTEGERS, *FORMATS)),
    "granularities": several(one_of("channel", "tensor", "group")),
    "symmetric_activations": boolean,
    "scales": one_of("free", "power-of-two"),
    "fused": several(one_of("Relu", "Clip"), least=0),
    "flash": size,
    "ram": size,
    "cycles": _cycles,
    "code": _code,
    "activation_storage": several(integer(1, 16)),
    "features": several(text, least=0),
    "toolchain": text,
    "flags": several(text, least=0),
    "options": _options,
}


def read_target(path: str | os.PathLike[str]) -> Target:
    """The target in a TOML file; its name is that of the file unless the file gives another.

    Raises TargetError, naming file and key, for anything in it that makes no sense.
    """
    values = read_table(path, _READERS, TargetError)
    values.setdefault("name", Path(path).stem)
    if not values["name"]:
        raise TargetError("must not be empty", where=f"{path}, name")
    backends = registry.names(registry.BACKENDS)
    if values.get("backend") not in backends:
        raise TargetError(
            f"there is no backend called {values['backend']}" if "backend" in values else "is missing",
            where=f"{path}, backend",
            fix=registry.suggest(values.get("backend", ""), backends) or "No backend is installed.",
        )
    return Target(**values)


@dataclass(frozen=True)
class Installed:
    """The targets that installed backends bring, by name.

    faults: why a backend could not be asked, or a target of that name is not to be had; by name.
    """

    targets: Mapping[str, Target]
    faults: Mapping[str, TargetError]


def installed_targets() -> Installed:
    """Every TOML file in the folder `targets` of each installed backend's package."""
    found: dict[str, Target] = {}
    faults: dict[str, TargetError] = {}
    for backend in registry.names(registry.BACKENDS):
        try:
            for target in _targets_of(backend):
                if target.name in found:
                    faults[target.name] = TargetError(
                        f"the backends {found[target.name].backend} and {backend} both bring it",
                        where=f"target {target.name}",
                        fix="Uninstall one, or give --target the TOML file itself.",
                    )
                found[target.name] = target
        except TargetError as fault:
            faults[backend] = fault
    return Installed({name: target for name, target in sorted(found.items()) if name not in faults}, faults)


def _targets_of(backend: str) -> Iterator[Target]:
    module = sys.modules[registry.find(registry.BACKENDS, backend).__module__]
    # A backend in a module of its own, outside any package, has no folder to bring targets in.
    folder = files(module.__package__) / FOLDER if module.__package__ else None
    if folder is not None and folder.is_dir():
        for entry in sorted(folder.iterdir(), key=lambda one: one.name):
            if entry.name.endswith(".toml"):
                with as_file(entry) as path:
                    yield read_target(path)


def load_target(name_or_path: str | os.PathLike[str]) -> Target:
    """The installed target of that name, or the one in a TOML file: whatever ends in .toml or has a folder.

    Raises TargetError for a name that no installed backend brings, suggesting the nearest.
    """
    given = os.fspath(name_or_path)
    if given.endswith(".toml") or Path(given).name != given:
        return read_target(given)
    installed = installed_targets()
    if given in installed.targets:
        return installed.targets[given]
    for name, fault in installed.faults.items():
        if name == given or not installed.targets:
            raise fault
    broken = "".join(f" Not asked, for it is broken: {fault}" for fault in installed.faults.values())
    raise TargetError(f"there is no target called {given}", fix=registry.suggest(given, installed.targets) + broken)
