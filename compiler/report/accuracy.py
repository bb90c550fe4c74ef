"""Accuracy of a compiled folder and of the float model it was made of, measured for its report."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitsmith.artifact import Artifact, load
from bitsmith.errors import ArtifactError, DataError, ModelError
from bitsmith.evaluation import Score, evaluate
from bitsmith.manifest import file_sha256
from bitsmith.metrics import METRICS
from bitsmith.progress import Progress, silent
from bitsmith.report.write import refuse_search
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
    real:   the model that was compiled; ArtifactError for another one, ModelError for none.
    metric: as `bitsmith evaluate` has them.
    """
    refuse_search(Path(folder))
    artifact = load(folder)
    if real is not None:
        _require_compiled(Path(real), artifact)
    shapes = {name: artifact.graph.values[name].shape for name in artifact.graph.inputs}
    labelled = open_samples(data, shapes, window).has_labels
    chosen = metric or ("top1" if labelled else "sqnr")
    is_distance = chosen in METRICS and not METRICS[chosen].needs_labels
    if is_distance and real is None and not labelled:
        raise DataError(
            f"there is nothing to compare the outputs with for {chosen}: no labels, no float model",
            where=str(data),
            fix="Give --float MODEL.onnx, or save labels as y.",
        )
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


def _require_compiled(model: Path, artifact: Artifact) -> None:
    """Raise ModelError for a file that cannot be read, and ArtifactError for one of another model."""
    try:
        found = file_sha256(model)
    except OSError as reason:
        raise ModelError(f"cannot be read: {reason.strerror}", where=str(model), fix="Check the path.") from reason
    compiled = artifact.manifest["model"]
    if found != compiled["sha256"]:
        raise ArtifactError(
            f"is not the model that was compiled into {artifact.folder}, which was {compiled['file']}",
            where=str(model),
            fix="Give the very file that was compiled.",
        )


def _told(score: Score) -> Mapping[str, Any]:
    found = dataclasses.asdict(score.result)
    value = found["value"] if math.isfinite(found["value"]) else None
    return {"model": score.model, **found, "value": value}
