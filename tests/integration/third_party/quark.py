"""Quantize small.onnx by AMD Quark: QDQ, 8 bits, once with free scales and once with powers of two (XINT8).

usage: python quark.py, where amd-quark, onnx and onnxruntime are installed.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from quark.onnx import ModelQuantizer, QConfig

HERE = Path(__file__).parent


class Digits(CalibrationDataReader):
    """Batches of the calibration samples."""

    def __init__(self) -> None:
        samples = np.load(HERE.parents[2] / "models/digits/calibration.npz")["x"]
        self._batches = iter([{"x": samples[start : start + 32]} for start in range(0, len(samples), 32)])

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._batches, None)


def main() -> None:
    """Calibrate on the digits."""
    for preset, name in (("A8W8", "quark"), ("XINT8", "quark_xint8")):
        config = QConfig.get_default_config(preset)
        ModelQuantizer(config).quantize_model(str(HERE / "small.onnx"), str(HERE / f"{name}.onnx"), Digits())


if __name__ == "__main__":
    main()
