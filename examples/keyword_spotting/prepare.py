"""Write clips.h: some clips of an evaluation file, quantized for a compiled model, with what it must hear in them.

usage: python prepare.py OUT/ EVAL.npz clips.h
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import bitsmith
from bitsmith.execution.interpreter import run
from bitsmith.execution.reals import quantize_inputs

CLIPS_PER_CLASS = 2


def main() -> None:
    """Take the first clips of each class."""
    out, evaluation, header = sys.argv[1:]
    graph = bitsmith.load(out).graph
    with np.load(evaluation) as data:
        samples, labels = data["x"], data["y"]
    classes = int(labels.max()) + 1
    chosen = np.concatenate([np.flatnonzero(labels == one)[:CLIPS_PER_CLASS] for one in range(classes)])
    inputs = quantize_inputs(graph, {graph.inputs[0]: samples[chosen]})
    heard = run(graph, inputs)[graph.outputs[0]].reshape(len(chosen), -1).argmax(axis=1)
    # The graph has channels first, C has them last.
    clips = np.moveaxis(inputs[graph.inputs[0]], 1, -1).reshape(len(chosen), -1)
    rows = ",\n".join("    {" + ", ".join(map(str, clip)) + "}" for clip in clips.tolist())
    Path(header).write_text(
        f"/* {len(chosen)} clips, what was said in each, and what the integer graph hears. Written by prepare.py. */\n"
        f"#include <stdint.h>\n\n#define CLASSES {classes}\n#define CLIPS {len(chosen)}\n\n"
        f"static const int8_t clips[CLIPS][{clips.shape[1]}] = {{\n{rows}\n}};\n\n"
        f"static const uint8_t said[CLIPS] = {{{', '.join(map(str, labels[chosen].tolist()))}}};\n\n"
        f"static const uint8_t expected[CLIPS] = {{{', '.join(map(str, heard.tolist()))}}};\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
