"""Allocations and sensitivities from JSON files: their own, or the manifest of a compile that made one."""

from __future__ import annotations

import json
import os
from typing import Any

from bitsmith.bounded import read_text
from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity


def read_allocation(path: str | os.PathLike[str]) -> Allocation:
    """The allocation in a JSON file, or that of a compile by its manifest; PipelineError, naming the file."""
    value = _part(path, "allocation")
    return Allocation.from_json(value, str(path))


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """The sensitivity in a JSON file, or that of a compile by its manifest; PipelineError, naming the file."""
    return Sensitivity.from_json(_part(path, "sensitivity"), str(path))


def _part(path: str | os.PathLike[str], key: str) -> Any:
    """What a manifest has under `key`, or the whole of a file that is no manifest."""
    try:
        value = json.loads(read_text(path))
    except OSError as reason:
        raise PipelineError(f"cannot be read: {reason.strerror}", where=str(path), fix="Check the path.") from reason
    except (ValueError, RecursionError) as reason:
        raise PipelineError(f"is no JSON: {reason}", where=str(path)) from reason
    if isinstance(value, dict) and "format" in value:
        if value.get(key) is None:
            fix = "Give the manifest of a compile with mixed bits."
            raise PipelineError(f"is the manifest of a compile without {key}", where=str(path), fix=fix)
        value = value[key]
    return value
