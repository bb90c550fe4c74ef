"""Quantize small.onnx by NVIDIA ModelOpt: QDQ, 8 bits, the dense layer too, which it leaves in float for TensorRT.

usage: python modelopt.py, where nvidia-modelopt[onnx] is installed.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from modelopt.onnx.quantization import quantize

HERE = Path(__file__).parent


def main() -> None:
    """Calibrate on the digits."""
    samples = np.load(HERE.parents[2] / "models/digits/calibration.npz")["x"]
    with tempfile.TemporaryDirectory() as folder:
        # It writes its input anew.
        model = shutil.copy(HERE / "small.onnx", folder)
        quantize(
            model,
            quantize_mode="int8",
            calibration_data={"x": samples},
            calibration_method="max",
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            enable_gemv_detection_for_trt=False,
            output_path=str(HERE / "modelopt.onnx"),
        )


if __name__ == "__main__":
    main()
