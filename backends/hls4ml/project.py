"""From a QONNX model to a project folder, by hls4ml, with nothing left to its defaults."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bitsmith.backends.hls4ml.options import Options
from bitsmith.backends.qonnx.tables import closed_form
from bitsmith.backends.qonnx.verify import INSTALL
from bitsmith.errors import TargetError, UnsupportedError
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph, InterpolatedTable, Table
from bitsmith.ir.interpolation import written_out

PROJECT = "bitsmith_model"
GENERATED = ("hls4ml_config.yml",)
"""Files that hold paths and pickled objects; another in their place says what matters."""

INTERFACE = "interface.json"
"""Inputs and outputs in the order of the top function's arguments, with names, shapes and types; and layers."""

SETTLED = frozenset(
    (
        "Activation",
        "ApplyAlpha",
        "BatchNormalization",
        "Clone",
        "Concatenate",
        "Constant",
        "Conv1D",
        "Conv2D",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "Input",
        "Merge",
        "PointwiseConv1D",
        "PointwiseConv2D",
        "Pooling2D",
        "Repack",
        "Reshape",
        "ZeroPadding1D",
        "ZeroPadding2D",
    )
)
"""Layers whose types hls4ml derives from those of their inputs, wide enough, or takes from a Quant node."""

DEFAULTED = "ParametrizedActivation"
"""Layers that get hls4ml's default type, which wraps around silently where it is too narrow."""


def write_project(
    graph: IntegerGraph, model: onnx.ModelProto, owners: Mapping[str, str], options: Options, folder: Path
) -> dict[str, Any]:
    """Convert `model`, the QONNX of `graph` with channels last, and write hls4ml's project into an empty folder.

    owners: the operation that each tensor of the model was written for.
    Returns the inputs and outputs in the order of the top function's arguments, and the layers that can be watched.
    Raises UnsupportedError where hls4ml stops, or settles on a type that cannot hold what the graph computes.
    """
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        converted, order, operations = _convert(graph, model, owners, options, Path(scratch) / "project")
        for layer in converted.get_layers():
            if layer.class_name not in SETTLED and layer.class_name != DEFAULTED:
                raise UnsupportedError(f"hls4ml makes a {layer.class_name} of it", where=f"{graph.name}, {layer.name}")
        layers = _layers(graph, converted, operations)
        converted.write()
        stamp = str(converted.config.get_config_value("Stamp"))
        for name in GENERATED:
            (Path(scratch) / "project" / name).unlink(missing_ok=True)
        shutil.copytree(Path(scratch) / "project", folder, dirs_exist_ok=True)
        home = str((Path(scratch) / "project").resolve())
    sides = {"inputs": graph.inputs, "outputs": [graph.outputs[index] for index in order]}
    described = {side: [_described(graph, name) for name in names] for side, names in sides.items()}
    described["layers"] = layers
    _replace(folder, home, ".")
    _replace(folder, stamp, hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[: len(stamp)])
    return described


def _convert(
    graph: IntegerGraph, model: onnx.ModelProto, owners: Mapping[str, str], options: Options, folder: Path
) -> tuple[Any, list[int], dict[str, str]]:
    """hls4ml's model, which of the graph's outputs each of its own is, and the operation of each of its nodes."""
    try:
        import hls4ml
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.util.cleanup import cleanup_model
    except ImportError as fault:
        raise TargetError(
            f"hls4ml is not installed ({fault})", where="backend hls4ml", fix=f"Run: {INSTALL}"
        ) from fault
    try:
        wrapper = cleanup_model(ModelWrapper(_labelled(model, owners)))
        operations = {node.name: node.doc_string for node in wrapper.graph.node if node.doc_string}
        config = hls4ml.utils.config.config_from_onnx_model(
            wrapper, granularity="name", backend=options.tool, default_precision=default_type(graph)
        )
        config["Model"] |= {"ReuseFactor": options.reuse_factor, "Strategy": options.strategy.capitalize()}
        for name, layer in config["LayerName"].items():
            own = options.of_layer(operations.get(_node(name), ""))
            layer |= {"ReuseFactor": own.reuse_factor, "Strategy": own.strategy.capitalize()}
        for given, name in zip(wrapper.graph.input, graph.inputs, strict=True):
            config["LayerName"][given.name]["Precision"] = {"result": fixed(graph.values[name].format)}
        part = {"part": options.part} if options.part else {}
        # hls4ml orders outputs by the nodes that make them, whatever their order in the model.
        given_outputs = [output.name for output in wrapper.graph.output]
        made = [node.output[0] for node in wrapper.graph.node]
        order = [given_outputs.index(name) for name in made if name in given_outputs]
        converted = hls4ml.converters.convert_from_onnx_model(
            wrapper,
            output_dir=str(folder),
            project_name=PROJECT,
            io_type=options.io_type,
            backend=options.tool,
            clock_period=options.clock_period,
            hls_config=config,
            **part,
        )
        return converted, order, operations
    except Exception as fault:
        raise UnsupportedError(
            f"hls4ml cannot convert it ({type(fault).__name__}: {fault})",
            where=graph.name,
            fix="Use the target qonnx, or report this model.",
        ) from fault


def _labelled(model: onnx.ModelProto, owners: Mapping[str, str]) -> onnx.ModelProto:
    """The model with each node's operation in its doc string: qonnx gives nodes and tensors names of its own."""
    labelled = onnx.ModelProto()
    labelled.CopyFrom(model)
    for node in labelled.graph.node:
        node.doc_string = owners.get(node.output[0], "")
    return labelled


def _node(layer: str) -> str:
    """The node that a layer was made of: hls4ml puts its own kind in front of the name."""
    found = re.search(r"[A-Za-z]+_\d+$", layer)
    return found[0] if found else layer


def _layers(graph: IntegerGraph, converted: Any, operations: Mapping[str, str]) -> list[dict[str, Any]]:
    """The last layer of each operation, where its values are the operation's: its name, its variable, type and size."""
    last = {operations.get(_node(layer.name), ""): layer for layer in converted.get_layers()}
    found = []
    for operation in graph:
        layer = last.get(operation.name)
        if layer is None or not layer.get_attr("function_cpp", None):
            continue
        made, value = layer.get_output_variable(), graph.result(operation)
        if math.prod(made.shape) == math.prod(value.shape):
            described = {
                "layer": layer.name,
                "variable": made.name,
                "type": made.type.name,
                "size": math.prod(made.shape),
            }
            found.append({"operation": operation.name, **described})
    return found


def fixed(kind: Format) -> str:
    """The fixed-point type whose values are those of a format, as hls4ml spells it: `fixed<bits, integer bits>`."""
    integer = kind.type.bits + math.frexp(kind.scale[0])[1] - 1
    return f"{'' if kind.type.signed else 'u'}fixed<{kind.type.bits},{integer}>"


def default_type(graph: IntegerGraph) -> str:
    """A type that holds what every LeakyRelu makes, exactly: hls4ml gives them its default type."""
    integer, fraction = 6, 10
    for operation in graph:
        if isinstance(operation, Table | InterpolatedTable):
            kind, made = graph.values[operation.inputs[0]].format, graph.result(operation).format
            table = operation if isinstance(operation, Table) else written_out(operation, made.type)
            slope = closed_form(table, kind, made) or 1.0
            finest = math.frexp(kind.scale[0] * min(slope, 1.0))[1] - 1
            widest = kind.type.bits + math.frexp(kind.scale[0] * max(slope, 1.0))[1]
            integer, fraction = max(integer, widest + 1), max(fraction, -finest)
    return f"fixed<{integer + fraction},{integer}>"


def _described(graph: IntegerGraph, name: str) -> dict[str, Any]:
    value = graph.values[name]
    shape = (*value.shape[1:], value.shape[0]) if len(value.shape) > 1 else value.shape
    return {"name": name, "shape": list(shape), "type": fixed(value.format)}


def write_vectors(graph: IntegerGraph, folder: Path, sides: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
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


def _replace(folder: Path, drawn: str, settled: str) -> None:
    """Put what follows from the model in place of what was drawn, so that the same model gives the same bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and drawn.encode() in (content := path.read_bytes()):
            path.write_bytes(content.replace(drawn.encode(), settled.encode()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """hls4ml tells of every layer on standard output, and warns of what it does to its own layers."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
