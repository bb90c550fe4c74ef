"""Reading an ONNX file that may be anything: missing, truncated, too large, or pointing out of its folder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from bitsmith.errors import ModelError
from bitsmith.importing.draft import all_nodes
from bitsmith.importing.names import with_plain_names

LIMIT = 2**31 - 1
"""Bytes a protobuf may have; also what all weights together may take here."""


def read_model(source: str | os.PathLike[str] | ModelProto) -> ModelProto:
    """The model in the file at `source`, its external data loaded; or `source` itself if it is a model.

    Raises ModelError for whatever is not a readable ONNX model. Nothing outside the folder of the file is read.
    """
    if isinstance(source, ModelProto):
        model = with_plain_names(source, source.graph.name if isinstance(source.graph.name, str) else "the model")
        _refuse_external(model)
        return model
    path = Path(source)
    model = with_plain_names(parse(path), str(path))
    if not model.graph.node and not model.graph.output and not model.opset_import:
        raise ModelError("not an ONNX model", where=str(path), fix="Give a file that torch.onnx or the like exported.")
    _load_external(model, path)
    return model


def parse(path: Path) -> ModelProto:
    """The protobuf in a file as it stands, external data and names left alone; ModelError for what is none."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ModelError("a folder, not an ONNX file", where=str(path), fix="Give the .onnx file in it.")
        if size == 0:
            raise ModelError("the file is empty", where=str(path), fix="Export the model again.")
        if size > LIMIT:
            raise ModelError(
                f"{size} bytes, more than the 2 GiB that a protobuf may have",
                where=str(path),
                fix="Save the weights apart: onnx.save(model, path, save_as_external_data=True).",
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError("there is no such file", where=str(path), fix="Check the path.") from None
    except OSError as fault:
        raise ModelError(f"cannot be read ({fault.strerror})", where=str(path), fix="Check its permissions.") from None
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(
            "not an ONNX model, a truncated one, or one nested too deep",
            where=str(path),
            fix="Copy or export the file again.",
        ) from None
    return model


def _external(model: ModelProto) -> list[TensorProto]:
    """The initializers whose data are in other files; ModelError for any other tensor of that kind."""
    for node in itertools.chain(all_nodes(model.graph), *(function.node for function in model.functions)):
        for attribute in node.attribute:
            if any(map(uses_external_data, [attribute.t, *attribute.tensors])):
                raise ModelError(
                    f"the data of its attribute {attribute.name} are in another file",
                    where=f"{node.op_type} {node.name or ', '.join(node.output)}",
                    fix="Save the model again: only initializers may be stored so.",
                )
    return [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]


def _refuse_external(model: ModelProto) -> None:
    for tensor in _external(model):
        raise ModelError(
            "its data is in another file, and a model in memory has no folder",
            where=f"initializer {tensor.name}",
            fix="Give the path of the model, or load it with onnx.load.",
        )


def _load_external(model: ModelProto, path: Path) -> None:
    """Read external data, after making sure that each file is in the folder of the model and long enough."""
    tensors = _external(model)
    folder = path.parent.resolve()
    total = 0
    for tensor in tensors:
        total += _check_external(tensor, folder, path)
    if total > LIMIT:
        raise ModelError(
            f"its weights take {total} bytes, more than 2 GiB", where=str(path), fix="Compile a smaller model."
        )
    if tensors:
        try:
            load_external_data_for_model(model, str(folder))
        except (OSError, ValueError, RuntimeError) as fault:
            raise ModelError(
                f"its external data cannot be read ({fault})",
                where=str(path),
                fix="Save the model and its data again, side by side.",
            ) from None


def _check_external(tensor: TensorProto, folder: Path, path: Path) -> int:
    """The bytes that an initializer takes in its file; raises ModelError where they cannot be read there."""
    where = f"{path}, initializer {tensor.name}"
    try:
        info = ExternalDataInfo(tensor)
        offset, length = int(info.offset or 0), None if info.length is None else int(info.length)
    except (ValueError, TypeError):
        raise ModelError(
            "its external data has a malformed offset or length", where=where, fix="Export the model again."
        ) from None
    target = folder / info.location
    if not info.location or not target.resolve().is_relative_to(folder):
        raise ModelError(
            f"its data is in {info.location!r}, outside the folder of the model",
            where=where,
            fix="Put the data file beside the model and store its bare name.",
        )
    if not target.is_file():
        raise ModelError(
            f"its data should be in {info.location!r}, which is missing",
            where=where,
            fix="Copy that file into the folder of the model.",
        )
    size = target.stat().st_size
    end = size if length is None else offset + length
    if offset < 0 or offset > size or end > size or end < offset:
        raise ModelError(
            f"its data should be bytes {offset} to {end} of {info.location!r}, which has {size}",
            where=where,
            fix="The data file is truncated: copy or export it again.",
        )
    return end - offset
