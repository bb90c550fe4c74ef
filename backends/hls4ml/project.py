"""From a QONNX model to a project folder, by hls4ml, with nothing left to its defaults."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bitsmith.backends.hls4ml.options import Options
from bitsmith.backends.qonnx.verify import INSTALL
from bitsmith.errors import TargetError, UnsupportedError
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph

PROJECT = "bitsmith_model"
GENERATED = ("hls4ml_config.yml",)
"""Files that hold paths and pickled objects; another in their place says what matters."""

UNUSED = "fixed<16,6>"
"""hls4ml asks for a default; `require_settled` sees that no layer has it."""


def write_project(graph: IntegerGraph, model: onnx.ModelProto, options: Options, folder: Path) -> None:
    """Convert `model`, the QONNX of `graph`, and write hls4ml's project into an empty folder.

    Raises UnsupportedError where hls4ml stops, or settles on a type that cannot hold what the graph computes.
    """
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        converted = _convert(graph, model, options, Path(scratch) / "project")
        converted.write()
        stamp = str(converted.config.get_config_value("Stamp"))
        for name in GENERATED:
            (Path(scratch) / "project" / name).unlink(missing_ok=True)
        shutil.copytree(Path(scratch) / "project", folder, dirs_exist_ok=True)
    _stamp(folder, stamp, hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[: len(stamp)])


def _convert(graph: IntegerGraph, model: onnx.ModelProto, options: Options, folder: Path) -> Any:
    try:
        import hls4ml
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
        from qonnx.util.cleanup import cleanup_model
    except ImportError as fault:
        raise TargetError(
            f"hls4ml is not installed ({fault})", where="backend hls4ml", fix=f"Run: {INSTALL}"
        ) from fault
    try:
        wrapper = cleanup_model(ModelWrapper(model))
        if any(len(graph.values[name].shape) > 1 for name in graph.inputs):
            wrapper = wrapper.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
            wrapper = cleanup_model(wrapper)
        config = hls4ml.utils.config.config_from_onnx_model(
            wrapper, granularity="name", backend=options.tool, default_precision=UNUSED
        )
        config["Model"] |= {"ReuseFactor": options.reuse_factor, "Strategy": options.strategy.capitalize()}
        for name, layer in config["LayerName"].items():
            layer |= {"ReuseFactor": options.reuse_factor, "Strategy": options.strategy.capitalize()}
            del name
        for given, name in zip(wrapper.graph.input, graph.inputs, strict=True):
            config["LayerName"][given.name]["Precision"] = {"result": fixed(graph.values[name].format)}
        part = {"part": options.part} if options.part else {}
        return hls4ml.converters.convert_from_onnx_model(
            wrapper,
            output_dir=str(folder),
            project_name=PROJECT,
            io_type=options.io_type,
            backend=options.tool,
            clock_period=options.clock_period,
            hls_config=config,
            **part,
        )
    except Exception as fault:
        raise UnsupportedError(
            f"hls4ml cannot convert it ({type(fault).__name__}: {fault})",
            where=graph.name,
            fix="Use the target qonnx, or report this model.",
        ) from fault


def fixed(kind: Format) -> str:
    """The fixed-point type whose values are those of a format, as hls4ml spells it: `fixed<bits, integer bits>`."""
    integer = kind.type.bits + math.frexp(kind.scale[0])[1] - 1
    return f"{'' if kind.type.signed else 'u'}fixed<{kind.type.bits},{integer}>"


def write_vectors(graph: IntegerGraph, folder: Path, sides: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Inputs and outputs for the test bench: one sample a line, reals, channels last."""
    (folder / "tb_data").mkdir(exist_ok=True)
    for file, values in sides:
        flat = [channels_last(graph.values[name].format.dequantize(array)) for name, array in values.items()]
        rows = np.concatenate([array.reshape(len(array), -1) for array in flat], axis=1)
        lines = [" ".join(repr(float(number)) for number in row) for row in rows]
        (folder / "tb_data" / file).write_text("\n".join(lines) + "\n", encoding="ascii")


def channels_last(samples: Any) -> Any:
    """(samples, channels, *space) as (samples, *space, channels), which is how hls4ml has images."""
    return np.ascontiguousarray(np.moveaxis(samples, 1, -1) if samples.ndim > 2 else samples)


def _stamp(folder: Path, drawn: str, settled: str) -> None:
    """Put what follows from the model in place of the random stamp, so that the same model gives the same bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and drawn.encode() in (content := path.read_bytes()):
            path.write_bytes(content.replace(drawn.encode(), settled.encode()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """hls4ml tells of every layer on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
