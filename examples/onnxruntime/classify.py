"""Run a compiled model in ONNX Runtime, as a program that has never heard of bitsmith does.

usage: python classify.py model.qdq.onnx EVAL.npz
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def main() -> None:
    """Classify the samples, and say how many are right."""
    model, data = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    # Without it, int8 kernels of x86 processors that lack VNNI saturate in the middle of a sum.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(data) as samples:
        images, labels = samples["x"], samples["y"]
    (scores,) = session.run(["y"], {"x": images})
    right = int((scores.argmax(axis=1) == labels).sum())
    print(f"{right} of {len(labels)} right; the first one is a {scores[0].argmax()}")


if __name__ == "__main__":
    main()
