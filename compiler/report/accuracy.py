"""Accuracy of a compiled folder and of the float model it was made of, measured for its report."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitsmith.artifact import load
from bitsmith.errors import ArtifactError
from bitsmith.evaluation import Score, evaluate
from bitsmith.manifest import file_sha256
from bitsmith.metrics import METRICS
from bitsmith.progress import Progress, silent
from bitsmith.windows import Window, open_samples


def measure(
    folder: str | os.PathLike[str],
    data: str | os.PathLike[str],
    real: str | os.PathLike[str] | None = None,
    metric: str | None = None,
    *,
    window: Window | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What the manifest holds as `accuracy`: the score of what the backend wrote, and of the float model beside it.

    data:   samples that neither training nor calibration saw, with labels `y` for a metric that asks for them.
    real:   the model that was compiled; ArtifactError for another one.
    metric: as `bitsmith evaluate` has them.
    """
    artifact = load(folder)
    if real is not None and file_sha256(Path(real)) != artifact.manifest["model"]["sha256"]:
        raise ArtifactError(
            f"is not the model that was compiled into {folder}, which was {artifact.manifest['model']['file']}",
            where=str(real),
            fix="Give the very file that was compiled.",
        )
    shapes = {name: artifact.graph.values[name].shape for name in artifact.graph.inputs}
    labelled = open_samples(data, shapes, window).has_labels
    chosen = metric or ("top1" if labelled else "sqnr")
    is_distance = chosen in METRICS and not METRICS[chosen].needs_labels
    reference = real if is_distance else None
    compiled = evaluate(folder, data, chosen, window=window, reference=reference, progress=progress)[-1]
    beside = None
    if real is not None and not is_distance:
        batched = {name: (1, *shape) for name, shape in shapes.items()}
        (beside,) = evaluate(real, data, chosen, window=window, input_shapes=batched, progress=progress)
    return {
        "file": Path(data).name,
        "sha256": file_sha256(Path(data)),
        "float": None if beside is None else _told(beside),
        "compiled": _told(compiled),
    }


def _told(score: Score) -> Mapping[str, Any]:
    found = dataclasses.asdict(score.result)
    value = found["value"] if math.isfinite(found["value"]) else None
    return {"model": score.model, **found, "value": value}
