"""Float against integer against QDQ on whole evaluation files, and how many elements differ: one Markdown table.

usage: python -m tests.benchmarks.equality [MODEL ...]
"""

from __future__ import annotations

import sys

import bitsmith
from bitsmith.windows import Window
from tests.benchmarks.common import markdown, model_files, working_folder

DEFAULT = [
    "mnist_cnn",
    "resnet8_cifar10",
    "resnet20_cifar10",
    "mobilenetv2s_cifar10",
    "dscnn_kws",
    "dscnn_kws_tfl",
    "mobilenetv1_025_vww",
    "mobilenetv2_imagenet_deq",
    "autoencoder_ad",
    "autoencoder_ad_tfl",
]
AUTOENCODER_WINDOW = Window(640, 128)
"""An evaluation clip holds 200 frames of 128; the autoencoder reads five frames, starting at every frame."""


def main() -> None:
    """Compile each model to int8 with the defaults, evaluate all its forms on the same samples, verify on them too."""
    rows = []
    for name in sys.argv[1:] or DEFAULT:
        model, calibration, evaluation = model_files(name)
        window = AUTOENCODER_WINDOW if name.startswith("autoencoder") else None
        metric = "auc" if window else "top1"
        with working_folder() as folder:
            bitsmith.compile(model, "onnxruntime", calibration, folder / "out")
            scores = [
                score
                for source in (model, folder / "out")
                for score in bitsmith.evaluate(source, evaluation, metric=metric, window=window)
            ]
            verified = bitsmith.verify(folder / "out", evaluation, window=window)
            last = [check.found for check in verified.checks[-2:]]
        real, integer, qdq = [score.result.value for score in scores]
        rows.append(
            [
                name,
                f"{metric} {real:.4f}",
                f"{integer:.4f} ({integer - real:+.4f})",
                f"{qdq:.4f} ({qdq - integer:+.4f})",
                *(f"{one.differing:,} of {one.total:,}" for one in last),
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr)
    header = ["model", "float", "integer.onnx (gain)", "model.qdq.onnx (against integer)"]
    print(markdown([*header, "integer.onnx differs", "QDQ differs"], rows))


if __name__ == "__main__":
    main()
