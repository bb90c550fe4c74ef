"""Mutated files: data sets, and what stands in a compiled folder."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx

from bitsmith.artifact import INTEGER_MODEL, VECTORS
from bitsmith.dataset import Dataset
from bitsmith.driver import compile as compile_model
from bitsmith.manifest import MANIFEST
from bitsmith.report import write_report
from bitsmith.verification import verify
from tests.fuzz.fuzz_target import FuzzTarget, every
from tests.fuzz.models import WORDS
from tests.fuzz.mutations import json_of, message_of, zip_of
from tests.sketch import Sketch, normal

SHAPE = (2, 4, 4)


def archives() -> Iterator[bytes]:
    """Data sets as numpy writes them: with labels, normalised, of two inputs, in Fortran order."""
    x = normal(6, *SHAPE)
    labels = np.arange(6)
    for save, arrays in (
        (np.savez, {"x": x, "y": labels}),
        (np.savez_compressed, {"x": (x * 9).astype(np.int8), "mean": np.zeros((1, 4, 4)), "std": np.float32(2)}),
        (np.savez_compressed, {"x": np.asfortranarray(x), "y": labels.astype("U1"), "id": labels.astype("S3")}),
        (np.savez, {"x": x.astype(np.float16), "y": labels.astype(bool)}),
        (np.savez, {"x": x, "z": x}),
    ):
        packed = io.BytesIO()
        save(packed, **arrays)
        yield packed.getvalue()


def read_data(given: bytes) -> None:
    """Read all of a data set, for a model with one input; what is read must be finite and of its shape."""
    with tempfile.NamedTemporaryFile(prefix="bitsmith-fuzz-", suffix=".npz") as file:
        file.write(given)
        file.flush()
        dataset = Dataset.open(file.name, {"x": SHAPE})
        count = 0
        for batch in dataset.batches(4):
            assert batch["x"].shape[1:] == SHAPE
            assert batch["x"].dtype == np.float32
            assert np.isfinite(batch["x"]).all()
            count += len(batch["x"])
            if count > 1000:  # A few bytes may stand for many samples: that is what compression is for.
                return
        assert count == len(dataset)
        dataset.take(3).sha256()
        if dataset.has_labels:
            dataset.labels()
        dataset.array("id")


DATA = FuzzTarget(archives, read_data, zip_of)


@cache
def _compiled() -> Path:
    """A small model, compiled once."""
    place = Path(tempfile.mkdtemp(prefix="bitsmith-fuzz-"))
    sketch = Sketch(x=("N", *SHAPE))
    hidden = sketch.add("Relu", sketch.add("Conv", "x", normal(3, 2, 3, 3)))
    onnx.save(sketch.model(sketch.add("Softmax", sketch.add("Flatten", hidden))), place / "model.onnx")
    np.savez(place / "data.npz", x=normal(8, *SHAPE))
    compile_model(place / "model.onnx", "onnxruntime", place / "data.npz", place / "out")
    return place / "out"


def _original(name: str) -> Iterator[bytes]:
    yield (_compiled() / name).read_bytes()


def open_folder(name: str, given: bytes) -> None:
    """Verify and report a compiled folder in which one file was replaced."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as place:
        folder = Path(place, "out")
        shutil.copytree(_compiled(), folder)
        (folder / name).write_bytes(given)
        report = (lambda: write_report(folder, Path(place, "again.html")),) if name == MANIFEST else ()
        every(lambda: verify(folder).to_json(), *report)


_MANIFEST_WORDS = ("files", "format", "target", "backend", "layers", "values", "c", "hls4ml", "model.qdq.onnx", "../x")

MANIFEST_FILE = FuzzTarget(partial(_original, MANIFEST), partial(open_folder, MANIFEST), json_of(_MANIFEST_WORDS))
INTEGER_FILE = FuzzTarget(
    partial(_original, INTEGER_MODEL), partial(open_folder, INTEGER_MODEL), message_of(onnx.ModelProto, WORDS)
)
VECTORS_FILE = FuzzTarget(partial(_original, VECTORS), partial(open_folder, VECTORS), zip_of)
