"""Score a float model or a compiled folder on a shared model's evaluation file, and print the figures as JSON.

usage: python -m tests.benchmarks.score MODEL FILE|FOLDER
"""

from __future__ import annotations

import json
import sys

import bitsmith
from bitsmith.windows import Window
from tests.benchmarks.common import model_files

AUTOENCODER_WINDOW = Window(640, 128)
"""An evaluation clip holds 200 frames of 128; the autoencoder reads five frames, starting at every frame."""


def main() -> None:
    """Print name -> score: of the float model, or of integer.onnx and the backend's own files."""
    name, source = sys.argv[1:]
    is_autoencoder = name.startswith("autoencoder")
    window, metric = (AUTOENCODER_WINDOW, "auc") if is_autoencoder else (None, "top1")
    scores = bitsmith.evaluate(source, model_files(name)[2], metric=metric, window=window)
    print(json.dumps({score.model: float(score.result.value) for score in scores}))


if __name__ == "__main__":
    main()
