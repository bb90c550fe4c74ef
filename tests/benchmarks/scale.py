"""What a compile takes as models grow: in layers, and in bytes.

usage: python -m tests.benchmarks.scale [--deep LAYERS ...] [--wide MEGABYTES ...] [--weights BITS] [--target NAME]

Both kinds of model are made here, of noise: residual blocks of 3x3 convolutions, batch normalisations and Relus on
8x8 images of 16 channels, and fully connected layers of equal width with their weights beside the model. Each compile
is a process of its own; its seconds are the processor's, which other work on the machine changes little. `exponent` is
that of time against size, from one row to the next: 1 is linear.
"""

# This process loads no model: Linux counts the memory of the process that starts another as a floor of its peak.
from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

from tests.benchmarks.common import Run, compile_command, markdown, measured, working_folder

DEEP = (125, 250, 500, 1000)
WIDE = (125, 250, 500)
WIDE_LAYERS = 8

MAKE = """
import sys
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

kind, size, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
random = np.random.default_rng(0)
nodes, held = [], []

def hold(name, array):
    held.append(numpy_helper.from_array(array.astype(np.float32), name))
    return name

def node(op, inputs, **attributes):
    output = f"v{len(nodes)}"
    nodes.append(helper.make_node(op, inputs, [output], name=f"{op.lower()}{len(nodes)}", **attributes))
    return output

def convolution(x, channels, gain):
    index = len(nodes)
    weights = random.normal(size=(16, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
    y = node("Conv", [x, hold(f"w{index}", weights)], pads=[1, 1, 1, 1])
    normal = [np.full(16, gain), random.normal(size=16) * 0.1, np.zeros(16), np.full(16, 2.0)]
    return node("BatchNormalization", [y, *(hold(f"bn{index}_{i}", a) for i, a in enumerate(normal))])

if kind == "deep":
    shape = (3, 8, 8)
    x = node("Relu", [convolution("x", 3, 1.0)])
    for _ in range((size - 2) // 2):
        inner = node("Relu", [convolution(x, 16, 1.0)])
        x = node("Relu", [node("Add", [convolution(inner, 16, (2 / size) ** 0.5), x])])
    x = node("Flatten", [node("GlobalAveragePool", [x])])
    y = node("Gemm", [x, hold("head", random.normal(size=(10, 16)) / 4)], transB=1)
else:
    width = int((size * 1e6 / 4 / int(sys.argv[4])) ** 0.5)
    shape = (width,)
    y = "x"
    for index in range(int(sys.argv[4])):
        weights = random.normal(size=(width, width)).astype(np.float32)
        weights *= np.float32((2 / width) ** 0.5)
        y = node("Relu", [node("Gemm", [y, hold(f"w{index}", weights)], transB=1)])

graph = helper.make_graph(
    nodes,
    kind,
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
    [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
    held,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
beside = dict(save_as_external_data=True, location="model.weights") if kind == "wide" else {}
onnx.save(model, f"{folder}/model.onnx", **beside)
np.savez(f"{folder}/calibration.npz", x=random.normal(size=(64, *shape)).astype(np.float32))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile models of each size, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deep", type=int, nargs="*", default=list(DEEP), metavar="LAYERS")
    parser.add_argument("--wide", type=int, nargs="*", default=list(WIDE), metavar="MEGABYTES")
    parser.add_argument("--weights", default="8", metavar="BITS")
    parser.add_argument("--target", default="onnxruntime")
    given = parser.parse_args(arguments)
    options = ("--weights", given.weights)
    tables = [
        _table(kind, unit, sizes, given.target, options)
        for kind, unit, sizes in (("deep", "layers", given.deep), ("wide", "MB of weights", given.wide))
        if sizes
    ]
    print(f"For `{given.target}`, weights of {given.weights} bits.\n\n" + "\n\n".join(tables))


def _table(kind: str, unit: str, sizes: Sequence[int], target: str, options: Sequence[str]) -> str:
    rows: list[list[str]] = []
    last: tuple[int, Run] | None = None
    for size in sizes:
        run = _compiled(kind, size, target, options)
        exponent = (
            "" if last is None else f"{math.log(run.processor / last[1].processor) / math.log(size / last[0]):.2f}"
        )
        rows.append([f"{size:,}", f"{run.processor:.1f} s", exponent, f"{run.peak:,.0f} MiB"])
        print(f"{kind}, {size} {unit}: {' '.join(rows[-1])}", file=sys.stderr)
        last = size, run
    return markdown([f"{kind}: {unit}", "processor time", "exponent", "peak memory"], rows)


def _compiled(kind: str, size: int, target: str, options: Sequence[str]) -> Run:
    with working_folder() as folder:
        measured([sys.executable, "-c", MAKE, kind, str(size), str(folder), str(WIDE_LAYERS)])
        model, calibration = folder / "model.onnx", folder / "calibration.npz"
        return measured(compile_command(model, calibration, folder / "out", *options, target=target))


if __name__ == "__main__":
    main()
