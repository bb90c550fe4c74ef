"""Quantize small.onnx by AIMET: QDQ as its own export writes it, 8 bits, weights per channel.

usage: python aimet.py, where aimet-onnx is installed.
"""

from pathlib import Path

import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel, int8
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight

HERE = Path(__file__).parent


def main() -> None:
    """Calibrate on the digits and export."""
    samples = np.load(HERE.parents[2] / "models/digits/calibration.npz")["x"]
    model = onnx.load(HERE / "small.onnx")
    fold_all_batch_norms_to_weight(model)
    simulation = QuantizationSimModel(model, param_type=int8, activation_type=int8)
    simulation.compute_encodings([{"x": samples[start : start + 32]} for start in range(0, len(samples), 32)])
    onnx.save(simulation.to_onnx_qdq(), HERE / "aimet.onnx")


if __name__ == "__main__":
    main()
