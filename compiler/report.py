"""The report: one page that needs no other file, made from the manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError

from bitsmith.allocation.budgets import MEANING, shown
from bitsmith.artifact import REPORT
from bitsmith.errors import ArtifactError
from bitsmith.manifest import MANIFEST, file_sha256, read_manifest, write_manifest, write_whole

TEMPLATE = "report.html.j2"


def render(manifest: Mapping[str, Any]) -> str:
    """The page for a manifest, with or without the hashes of its files."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(thousands=thousands, decibels=decibels_text, format_text=format_text)
    environment.filters.update(ratio=ratio_text, ratio_bar=ratio_bar)
    environment.filters.update(cost=shown, meaning=MEANING.__getitem__)
    text = (files("bitsmith.templates") / TEMPLATE).read_text(encoding="utf-8")
    most = max((layer["macs"] for layer in manifest["layers"]), default=0)
    return environment.from_string(text).render(most_macs=most, **manifest) + "\n"


def write_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a compiled folder to `out`, or into the folder itself; returns where it is."""
    path = Path(folder)
    manifest = read_manifest(path)
    try:
        page = render(manifest)
    except (TemplateError, LookupError, TypeError, ValueError) as reason:
        raise ArtifactError(
            f"is incomplete: {reason}", where=str(path / MANIFEST), fix="Compile the model again."
        ) from reason
    target = path / REPORT if out is None else Path(out)
    try:
        write_whole(target, page)
        if out is None:
            manifest["files"][REPORT] = file_sha256(target)
            write_manifest(path, manifest)
    except OSError as reason:
        raise ArtifactError(
            f"cannot be written: {reason.strerror}", where=str(target), fix="Name another file with -o."
        ) from reason
    return target


def thousands(number: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{number:,}"


def decibels_text(value: float | None) -> str:
    """A ratio in decibels; None is the ratio of something to no noise at all."""
    return "no difference" if value is None else f"{value:.1f} dB"


def ratio_text(value: float | str | None) -> str:
    """A ratio of a layer as the manifest has it: in decibels, `lossless` or `no signal`; empty where none was taken."""
    return f"{value:.1f} dB" if isinstance(value, int | float) else value or ""


def ratio_bar(value: float | str | None) -> float:
    """How long the bar of a ratio is, in rem: 0 to 4, for 0 to 60 dB."""
    return 4 * min(max(float(value), 0.0), 60.0) / 60 if isinstance(value, int | float) else 0.0


def format_text(data: Mapping[str, Any]) -> str:
    """A format as people write it: `int8, scale 0.0235, zero point -128`."""
    scales = data["scale"]
    scale = f"{scales[0]:.4g}" if len(scales) == 1 else f"{min(scales):.4g} to {max(scales):.4g} by channel"
    name = f"{'int' if data['signed'] else 'uint'}{data['bits']}"
    return f"{name}, scale {scale}, zero point {data['zero_point']}"
