"""How figures of a manifest are written for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GOOD, FAIR, POOR, BAD, UNKNOWN = "good", "fair", "poor", "bad", "unknown"
GRADES = ((40.0, GOOD), (30.0, FAIR), (20.0, POOR))
"""Decibels from which on a ratio is of a grade; what is lower is BAD."""

KIBIBYTE = 1024


def thousands(number: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{number:,}"


def of_bytes(count: int) -> str:
    """Bytes in a short form: `3,008 bytes`, `41.2 KiB`."""
    for unit, size in (("MiB", KIBIBYTE**2), ("KiB", KIBIBYTE)):
        if count >= 10 * size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def short(count: float) -> str:
    """A large count with three digits and a letter: `346 k`, `40.8 M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:g}"


def decibels_text(value: float | None) -> str:
    """A ratio in decibels; None is the ratio of something to no noise at all."""
    return "no difference" if value is None else f"{value:.1f} dB"


def score_text(score: Mapping[str, Any]) -> str:
    """A result of `bitsmith evaluate`: a share in percent, a ratio in decibels, an error as it is."""
    value, error = score["value"], score.get("error")
    if score["metric"] == "sqnr":
        return decibels_text(value)
    if score["metric"] in ("top1", "auc"):
        return f"{100 * value:.2f} %" + (f" \N{PLUS-MINUS SIGN} {100 * error:.2f}" if error else "")
    return f"{value:.4g}"


def ratio_text(value: float | str | None) -> str:
    """A ratio of a layer as the manifest has it: in decibels, `lossless` or `no signal`; empty where none was taken."""
    return f"{value:.1f} dB" if isinstance(value, int | float) else value or ""


def grade(value: float | str | None) -> str:
    """The grade of such a ratio."""
    if isinstance(value, int | float):
        return next((name for least, name in GRADES if value >= least), BAD)
    return GOOD if value == "lossless" else UNKNOWN


def format_text(data: Mapping[str, Any]) -> str:
    """A format as people write it: `int8, scale 0.0235, zero point -128`."""
    name = f"{'int' if data['signed'] else 'uint'}{data['bits']}"
    if data.get("base") is not None:
        return f"{name}, powers of {data['base']:.4g}"
    scales = data["scale"]
    scale = f"{scales[0]:.4g}" if len(scales) == 1 else f"{min(scales):.4g} to {max(scales):.4g} by channel"
    grid = f", {data['grid']['kind']}" if data.get("grid") else ""
    return f"{name}{grid}, scale {scale}, zero point {data['zero_point']}"


def shape_text(shape: Sequence[int]) -> str:
    """`16 x 8 x 8`, with the sign of multiplication."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape))


def tail(name: str, most: int) -> str:
    """A name cut to so many characters from its end, which is where names differ."""
    return name if len(name) <= most else "…" + name[1 - most :]


def mapping(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table of a manifest that may be missing or null; TypeError for anything else."""
    found = manifest.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TypeError(f"{key} is no table")
    return found
