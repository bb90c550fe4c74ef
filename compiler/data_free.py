"""Compiling without data: what changes in a pipeline, and what cannot be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bitsmith.errors import PipelineError
from bitsmith.ir.graph import Graph
from bitsmith.manager import Pipeline

RECORD, MAKE_UP, ESTIMATE = "record-batch-norms", "distill-inputs", "estimate-statistics"
"""Passes that keep what batch normalisations say, make inputs of it, or make statistics of it directly."""


class Wishes(Protocol):
    """What a recipe says about data."""

    @property
    def data_free(self) -> bool | None: ...

    @property
    def input_ranges(self) -> Mapping[str, tuple[float, float]]: ...


def without_data(pipeline: Pipeline) -> Pipeline:
    """The pipeline with the passes that make up for data, where it has not its own.

    What batch normalisations say is kept before the first is folded. Inputs are made, from the graph as it then is,
    right before the first pass that takes statistics: for second moments, for learned rounding, for trials of ranges.
    The ranges themselves come from moments: distilled inputs are less diverse than data, and reach less far.
    """
    names = [one.name for one in pipeline.passes]
    if "calibrate" not in names and ESTIMATE not in names:
        raise PipelineError(
            "no pass of this pipeline takes statistics, so nothing in it can be data-free",
            fix="Leave --data-free out, or put `calibrate` into the pipeline.",
        )
    made = {MAKE_UP, ESTIMATE} & set(names)
    texts: list[str] = [] if RECORD in names or "fold-batch-norm" in names else [RECORD]
    for one in pipeline.passes:
        if one.name == "fold-batch-norm" and not {RECORD} & {*names, *texts}:
            texts.append(RECORD)
        if one.name == "calibrate" and not made and MAKE_UP not in texts:
            texts.append(MAKE_UP)
        texts.append(str(one))
        if one.name == "calibrate" and not made:
            texts.append(ESTIMATE)
    return Pipeline.parse(",".join(texts))


def require_one_source(pipeline: Pipeline, wishes: Wishes, *, given: bool) -> None:
    """Refuse a compile with calibration data and without, or with neither."""
    names = [one.name for one in pipeline.passes]
    if given and (wishes.data_free or MAKE_UP in names or ESTIMATE in names):
        raise PipelineError(
            "there is calibration data, and the compile is to be data-free",
            fix="Give --calibration or --data-free, not both; data is better.",
        )
    if wishes.input_ranges and not {MAKE_UP, ESTIMATE} & set(names):
        raise PipelineError("an input range has no effect beside calibration data", fix="Leave --input-range out.")
    if not given and "calibrate" in names and MAKE_UP not in names[: names.index("calibrate")]:
        raise PipelineError(
            "this pipeline needs calibration data", fix="Give --calibration DATA.npz, or --data-free if there is none."
        )


def ranges_of(graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> Mapping[str, tuple[float, float]]:
    """The ranges, each of them for an input that the graph has."""
    inputs = [value.name for value in graph.inputs]
    for name in ranges:
        if name not in inputs:
            raise PipelineError(f"the model has no input {name}", fix=f"Its inputs are {', '.join(inputs)}.")
    return ranges
