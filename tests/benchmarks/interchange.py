"""Models that onnxruntime quantized, compiled as they are: accuracy of the file and of ours, and what differs.

usage: python -m tests.benchmarks.interchange [MODEL ...]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import bitsmith
from bitsmith.dataset import Dataset
from bitsmith.runners import FloatModel
from tests.benchmarks.common import markdown, model_files, working_folder

DEFAULT = ["resnet8_cifar10", "dscnn_kws", "mobilenetv1_025_vww", "mnist_cnn", "mobilenetv2s_cifar10"]

FORMS = {
    "QDQ, per channel, int8": ("QDQ", "QInt8", "QInt8", True),
    "QDQ, per tensor, uint8": ("QDQ", "QUInt8", "QInt8", False),
    "QDQ, per channel, int4 weights": ("QDQ", "QInt8", "QInt4", True),
    "QOperator, per channel, uint8": ("QOperator", "QUInt8", "QInt8", True),
}
"""Format, type of activations, type of weights, per channel."""

SAMPLES = 64


def quantized_by_onnxruntime(
    model: Path, samples: np.ndarray[Any, Any], form: tuple[str, str, str, bool], out: Path
) -> Path:
    """What quantize_static makes of a float model with min-max ranges over `samples`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(model, load_external_data=False).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter([{name: samples[i : i + 16]} for i in range(0, len(samples), 16)])

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._batches, None)

    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared))
    layout, activations, weights, per_channel = form
    quantize_static(
        str(prepared),
        str(out),
        Reader(),
        quant_format=QuantFormat[layout],
        activation_type=QuantType[activations],
        weight_type=QuantType[weights],
        per_channel=per_channel,
    )
    return out


def main() -> None:
    """Quantize each model by onnxruntime in each form, compile that, and evaluate both on the same samples."""
    rows = []
    for name in sys.argv[1:] or DEFAULT:
        model, calibration, evaluation = model_files(name)
        samples = next(Dataset.open(calibration, FloatModel(model).samples).batches(SAMPLES))
        for form, choice in FORMS.items():
            with working_folder() as folder:
                file = quantized_by_onnxruntime(model, next(iter(samples.values())), choice, folder / "theirs.onnx")
                artifact = bitsmith.compile(file, "onnxruntime", calibration, folder / "out")
                scores = [s for source in (file, folder / "out") for s in bitsmith.evaluate(source, evaluation)]
            theirs, ours = (score.result.value for score in scores[:2])
            found = artifact.manifest["quantized_by_others"]
            outputs = list(found["outputs"].values())
            rows.append(
                [
                    name,
                    form,
                    f"{theirs:.4f}",
                    f"{ours:.4f} ({ours - theirs:+.4f})",
                    f"{found['differing']:,} of {found['elements']:,}, {found['largest']}",
                    f"{outputs[0]['differing']:,} of {outputs[0]['elements']:,}, {outputs[0]['largest']}",
                ]
            )
            print(" | ".join(rows[-1]), file=sys.stderr)
    header = ["model", "form", "the file in ONNX Runtime", "integer.onnx (gain)"]
    print(markdown([*header, "each operation alone: differing, steps", "outputs: differing, steps"], rows))


if __name__ == "__main__":
    main()
