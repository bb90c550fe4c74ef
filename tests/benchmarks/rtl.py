"""Look-up tables of small networks as RTL: da4ml's estimate, yosys' count, and plain da4ml on the same integers.

usage: python -m tests.benchmarks.rtl [--only NAME ...] [--no-yosys] [--write FILE.md] [--plot FILE.png]

The jet tagger comes without data. Its inputs are drawn from a standard normal distribution, which is what its features
are scaled to, and "agreement" is how often the class is the float model's on 10,000 more of them: no accuracy on jets.
The other networks have random weights, and are there for their shapes.

"Plain da4ml" is what one writes in da4ml for the same weights, biases and shifts: matmul, relu, quantize with rounding
and saturation. Both are cut into stages of five adders, and both must give the interpreter's integers on 1,000 vectors.

"Pruned" are weights that gave up signed powers of two, or all of them, by `reconstruct{price=...}`: see pruning.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from da4ml.trace import FixedVariableArray, comb_trace, to_pipeline
from da4ml.trace.ops import relu

import bitsmith
from bitsmith.backends.rtl.capabilities import Options
from bitsmith.backends.rtl.design import Design, design
from bitsmith.backends.rtl.emit import sources
from bitsmith.backends.rtl.layout import ports
from bitsmith.backends.rtl.variables import LUTS
from bitsmith.backends.rtl.yosys import Counts, count
from bitsmith.errors import TargetError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run, run_batched
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.ir.integer import IntegerGraph, Linear
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import MODELS, markdown, working_folder
from tests.benchmarks.kept_rows import with_kept_rows
from tests.sketch import Sketch, normal

JET = "jet_mlp_3layer_NODATA"
SAMPLES = 1000
CALIBRATION, EVALUATION = 1024, 10_000


@dataclass(frozen=True)
class Variant:
    """A network, how it is quantized, and whether plain da4ml does it too. price: of a digit in `reconstruct`."""

    name: str
    weights: int | str
    activations: int | str
    network: str = "jet"
    luts: int = 0
    plain: bool = False
    price: float = 0.0

    @property
    def recipe(self) -> Recipe:
        budgets = {"luts": float(self.luts)} if self.luts else {}
        recipe = Recipe(weights=self.weights, activations=self.activations, budgets=budgets)
        if not self.price:
            return recipe
        pipeline = str(recipe.passes(load_target("rtl")))
        assert "reconstruct{" in pipeline
        return Recipe(pipeline=pipeline.replace("reconstruct{", f"reconstruct{{price={self.price},"))


def mixed(luts: int) -> Variant:
    """The jet tagger with bits chosen for a budget."""
    return Variant(f"mixed, {luts // 1000}k", "mixed", "mixed", luts=luts)


def pruned(variant: Variant, price: float) -> Variant:
    """The same with a price of digits."""
    return replace(variant, name=f"{variant.name}, pruned", price=price)


VARIANTS = [
    Variant("w4 a4", 4, 4, plain=True),
    Variant("w6 a6", 6, 6, plain=True),
    Variant("w4 a6", 4, 6),
    Variant("w3 a5", 3, 5),
    Variant("power-sums a6", "power-sums", 6),
    Variant("powers a6", "powers", 6),
    Variant("powers a4", "powers", 4),
    Variant("ternary a6", "ternary", 6, plain=True),
    Variant("w8 a8", 8, 8),
    *map(mixed, (24000, 16000, 12000, 8000)),
    pruned(Variant("w6 a6", 6, 6), 0.01),
    pruned(mixed(24000), 0.001),
    Variant("dense w5 a5", 5, 5, network="dense"),
    Variant("images w4 a4", 4, 4, network="images"),
]


def dense(folder: Path) -> Path:
    """16-24-4."""
    s = Sketch(x=("N", 16))
    hidden = s.add("Relu", s.add("Gemm", "x", normal(16, 24), normal(24, seed=1)))
    s.add("Gemm", hidden, normal(24, 4, seed=2), normal(4, seed=3), outputs=["y"])
    onnx.save(s.model("y"), folder / "dense.onnx")
    return folder / "dense.onnx"


def images(folder: Path) -> Path:
    """Two convolutions over 6x6 pixels, the larger of each four elements, a residual, a mean, and a product."""
    s = Sketch(x=("N", 1, 6, 6))
    first = s.add("Relu", s.add("Conv", "x", normal(3, 1, 3, 3), normal(3, seed=1), pads=[1, 1, 1, 1]))
    pooled = s.add("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    second = s.add("Conv", pooled, normal(3, 3, 3, 3, seed=2), normal(3, seed=3), pads=[1, 1, 1, 1])
    both = s.add("Relu", s.add("Add", pooled, second))
    mean = s.add("Flatten", s.add("GlobalAveragePool", both))
    s.add("Gemm", mean, normal(3, 4, seed=4), normal(4, seed=5), outputs=["y"])
    onnx.save(s.model("y"), folder / "images.onnx")
    return folder / "images.onnx"


NETWORKS: dict[str, Callable[[Path], Path]] = {
    "jet": lambda folder: MODELS / f"{JET}.onnx",
    "dense": dense,
    "images": images,
}


def drawn(model: Path, samples: int, seed: int) -> npt.NDArray[np.float32]:
    """Inputs of a model, standard normal."""
    (given,) = onnx.load(model, load_external_data=False).graph.input
    shape = [one.dim_value for one in given.type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(seed).normal(size=(samples, *shape)).astype(np.float32)


def agreement(model: Path, graph: IntegerGraph) -> float:
    """How often the largest output is the float model's."""
    x = drawn(model, EVALUATION, seed=1)
    session = ort.InferenceSession(model)
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    found = dequantize_outputs(graph, run_batched(graph, quantize_inputs(graph, {graph.inputs[0]: x})))
    return float((found[graph.outputs[0]].argmax(axis=1) == np.asarray(expected).argmax(axis=1)).mean())


def plain(graph: IntegerGraph, levels: int) -> Design:
    """A chain of Linear operations as one writes it in da4ml."""
    (given,) = graph.inputs
    kind, shape = graph.values[given].format.type, graph.values[given].shape
    x = FixedVariableArray.from_lhs(np.full(shape, kind.lowest), np.full(shape, kind.highest), np.ones(shape), LUTS)
    first = x
    for operation in graph:
        assert isinstance(operation, Linear)
        rule, made = operation.requantize, graph.result(operation).format.type
        multiplier = rule.multiplier.astype(np.float64)
        assert np.array_equal(2.0 ** np.round(np.log2(multiplier)), multiplier)
        assert graph.result(operation).format.zero_point == 0
        x = (x @ operation.weight.T.astype(np.float64) + operation.bias.astype(np.float64)) * (
            multiplier / 2.0**rule.shift
        )
        if rule.lowest == 0:
            x = relu(x)
        signed = int(made.signed)
        x = x.quantize(signed, made.bits - signed, 0, "SAT", "RND")
        assert rule.highest == made.highest
    pipeline = to_pipeline(comb_trace(first, x, keep_dead_inputs=True), levels, verbose=False)
    return Design(pipeline, *ports(graph))


def differing(graph: IntegerGraph, made: Design) -> int:
    """Elements that are not the interpreter's."""
    inputs = vectors(graph, SAMPLES, seed=0)
    found = made.run([inputs[name] for name in graph.inputs])
    expected = run(graph, inputs)
    return sum(int((one != expected[name]).sum()) for name, one in zip(graph.outputs, found, strict=True))


def cells(made: Design, wanted: bool) -> Counts | None:
    """What yosys counts, where it is installed and asked for."""
    try:
        return count(sources(made)) if wanted else None
    except TargetError as fault:
        print(fault, file=sys.stderr)
        return None


@dataclass(frozen=True)
class Row:
    """One circuit. agreement: None for random networks."""

    variant: Variant
    by: str
    bits: str
    agreement: float | None
    estimated: int
    counted: Counts | None
    stages: int
    differing: str

    def texts(self) -> list[str]:
        """Cells of the table."""
        agrees = "" if self.agreement is None else f"{self.agreement:.4f}"
        yosys = ["", "", "", ""]
        if self.counted is not None:
            off = self.estimated / self.counted.luts - 1
            yosys = [f"{self.counted.luts:,}", f"{off:+.1%}", f"{self.counted.registers:,}", f"{self.counted.dsps}"]
        name = self.variant.name if self.variant.network != "jet" else f"jet, {self.variant.name}"
        return [name, self.by, self.bits, agrees, f"{self.estimated:,}", *yosys, str(self.stages), self.differing]


def measured(variant: Variant, folder: Path, with_yosys: bool) -> Iterator[list[str]]:
    """Compile, trace, count: ours, and plain da4ml's where that is asked for."""
    model = NETWORKS[variant.network](folder)
    np.savez(folder / "data.npz", x=drawn(model, CALIBRATION, seed=0))
    out = folder / "out"
    graph = bitsmith.compile(model, "rtl", folder / "data.npz", out, recipe=variant.recipe, explain=False).graph
    agrees = agreement(model, graph) if variant.network == "jet" else None
    levels = Options.of(load_target("rtl")).levels
    designs = {"bitsmith": design(graph, levels)}
    if variant.plain:
        designs["plain da4ml"] = plain(graph, levels)
    for name, made in designs.items():
        wrong = f"{differing(graph, made)} of {SAMPLES * len(made.fields()):,}"
        found = cells(made, with_yosys)
        row = Row(variant, name, bits(graph), agrees, made.luts, found, made.stages, wrong).texts()
        print(" | ".join(row), file=sys.stderr, flush=True)
        yield row


def bits(graph: IntegerGraph) -> str:
    """Of weights, and of what the layers read, in order."""
    layers = [one for one in graph if hasattr(one, "weight_format")]
    weights = " ".join(str(one.weight_format.bits) for one in layers)
    return f"w {weights}, a {' '.join(str(graph.operands(one)[0].format.bits) for one in layers)}"


class Point(NamedTuple):
    """A circuit of the picture."""

    name: str
    by: str
    luts: int
    agreement: float


def draw(rows: Sequence[Sequence[str]], path: Path) -> None:
    """Agreement against look-up tables, as counted where they are counted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    points = [
        Point(row[0].removeprefix("jet, "), row[1], int((row[5] or row[4]).replace(",", "")), float(row[3]))
        for row in rows
        if row[3]
    ]
    kinds: dict[str, Callable[[Point], bool]] = {
        "plain da4ml": lambda point: point.by != "bitsmith",
        "pruned": lambda point: point.name.endswith("pruned"),
        "the same bits in all layers": lambda point: point.name.startswith("w"),
        "mixed bits, for a budget": lambda point: point.name.startswith("mixed"),
        "ternary, powers of two and their sums": lambda point: True,
    }
    left = list(points)
    for label, belongs in kinds.items():
        chosen = [point for point in left if belongs(point)]
        left = [point for point in left if not belongs(point)]
        marker = "x" if label == "plain da4ml" else "o"
        axes.scatter([one.luts for one in chosen], [one.agreement for one in chosen], label=label, marker=marker)
        for point in chosen:
            if point.by == "bitsmith":
                axes.annotate(point.name, (point.luts, point.agreement), (4, -9), textcoords="offset points")
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.luts, -point.agreement)):
        if not front or point.agreement > front[-1].agreement:
            front.append(point)
    axes.plot([one.luts for one in front], [one.agreement for one in front], color="gray", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("look-up tables, by yosys (synth_xilinx, UltraScale+)")
    axes.set_ylabel("class as of the float model")
    axes.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Compile every variant, trace the circuits, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[one.name for one in VARIANTS])
    parser.add_argument("--no-yosys", action="store_true", help="estimates alone, which take seconds")
    parser.add_argument("--write", type=Path, help="a file, whose rows that are not measured now stay")
    parser.add_argument("--plot", type=Path, help="an image file; needs matplotlib")
    options = parser.parse_args()
    if not (MODELS / f"{JET}.onnx").is_file():
        sys.exit(f"{JET}.onnx is not there. Point BITSMITH_MODELS at the folder of shared models.")
    rows = []
    for variant in VARIANTS:
        if not options.only or variant.name in options.only:
            with working_folder() as folder:
                rows += measured(variant, folder, not options.no_yosys)
    header = ["network, quantized", "by", "bits by layer", "agreement", "LUTs, estimated", "LUTs, yosys"]
    header += ["estimate is off by", "flip-flops, yosys", "DSPs", "stages", "differ from the interpreter"]
    rows = with_kept_rows(options.write, header, rows, 2)
    text = markdown(header, rows)
    if options.plot:
        draw(rows, options.plot)
        text += f"\n\n![Agreement with the float jet tagger against look-up tables]({options.plot.name})"
    print(text)
    if options.write:
        said = (__doc__ or "").split("\n\n")
        said = [part for part in said if not part.startswith("usage")]
        options.write.write_text("# RTL\n\n" + "\n\n".join(said).strip() + "\n\n" + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
