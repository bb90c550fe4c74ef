"""Compiles without data against compiles with it: accuracy on whole evaluation files, as one Markdown table.

Each model at W8A8 per channel: calibrated on its samples; as --data-free does it; with ranges of inputs that are
distilled, or noise, or with ranges from moments alone, biases as they are or corrected. With and without the range of
the model's input. Beside each accuracy stand what it gains or loses, and seconds of processor time of the compile.

usage: python -m tests.benchmarks.data_free [MODEL ...]
"""

from __future__ import annotations

import sys
import time

import bitsmith
from bitsmith.pipelines import NORMALISE
from bitsmith.recipe import Recipe
from bitsmith.windows import Window
from tests.benchmarks.common import markdown, model_files, working_folder

RANGES = {
    "mnist_cnn": (0.0, 1.0),
    "dscnn_kws": (-123.4, 25.2),
    "dscnn_kws_tfl": (-123.4, 25.2),
    "autoencoder_ad": (-80.0, 10.0),
    "autoencoder_ad_tfl": (-80.0, 10.0),
    "mobilenetv1_025_vww": (0.0, 1.0),
    "mobilenetv2s_cifar10": (-1.0, 1.0),
    "resnet8_cifar10": (0.0, 255.0),
    "resnet20_cifar10": (-2.2, 2.7),
    "mobilenetv2_imagenet_deq": (-2.2, 2.7),
}
"""By model, the range that a user who knows how inputs are prepared would give."""

AUTOENCODER_WINDOW = Window(640, 128)
"""An evaluation clip holds 200 frames of 128; the autoencoder reads five frames, starting at every frame."""

START = NORMALISE.replace("fold-batch-norm", "record-batch-norms,fold-batch-norm", 1)
END = "quantize-weights,quantize-activations{observer=%s},%squantize-biases,integerize"
DISTILLED = f"{START},distill-inputs,calibrate,{END % ('auto', '')}"
NOISE = f"{START},distill-inputs{{steps=0}},calibrate,{END % ('auto', '')}"
MOMENTS = f"{START},estimate-statistics,{END % ('min-max', '')}"
CORRECTED = f"{START},estimate-statistics,{END % ('min-max', 'correct-biases,')}"

WAYS = {
    "calibrated": Recipe(),
    "--data-free": Recipe(data_free=True),
    "distilled": Recipe(pipeline=DISTILLED),
    "noise": Recipe(pipeline=NOISE),
    "moments": Recipe(pipeline=MOMENTS),
    "moments, biases corrected": Recipe(pipeline=CORRECTED),
}


def main() -> None:
    """Compile and evaluate each model in every way."""
    rows = []
    for name in sys.argv[1:] or RANGES:
        for given in (False, True):
            rows.append(_row(name, given))
            print(" | ".join(rows[-1]), file=sys.stderr)
    print(markdown(["model", "input range", "float", *WAYS], rows))


def _row(name: str, given: bool) -> list[str]:
    model, calibration, evaluation = model_files(name)
    window = AUTOENCODER_WINDOW if name.startswith("autoencoder") else None
    metric = "auc" if window else "top1"
    (real,) = bitsmith.evaluate(model, evaluation, metric=metric, window=window)
    cells = [name, "given" if given else "not given", f"{metric} {real.result.value:.4f}"]
    for way, recipe in WAYS.items():
        calibrated = way == "calibrated"
        if given and not calibrated:
            recipe = recipe.overridden(Recipe(input_ranges={"x": RANGES[name]}))
        with working_folder() as folder:
            start = time.process_time()
            bitsmith.compile(model, "onnxruntime", calibration if calibrated else None, folder / "out", recipe=recipe)
            seconds = time.process_time() - start
            integer = bitsmith.evaluate(folder / "out", evaluation, metric=metric, window=window)[0].result.value
        cells.append(f"{integer:.4f} ({integer - real.result.value:+.4f}), {seconds:.0f} s")
    return cells


if __name__ == "__main__":
    main()
