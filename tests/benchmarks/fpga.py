"""Trained networks as FPGA firmware: accuracy and look-up tables by bits, and simulations held to the integer graph.

usage: python -m tests.benchmarks.fpga [--bits] [--tools] [--only NAME ...] [--by TOOL ...] [--write FILE.md]

The first table is of models/digits and mnist_cnn for Vitis: whole evaluation files, compiled with learned rounding,
edges of 8 bits. Its look-up tables are estimates for products that are all there at once and share no adder
(backends/hls4ml/luts.py); "half" has bits by layer chosen for half of what uniform 8 bits take.

The second is of what runs: qonnx executes the QONNX model, g++ compiles what hls4ml writes for a tool, Verilator what
da4ml does. Each is given 1,000 vectors: all lowest, all highest, all zero, ends drawn element by element, and uniform
noise for one half; real samples for the other (for the jet taggers, which come without data, standard normal ones).
"Saturated" are the layers whose results reach the upper end of their clamp. Seconds are those of compilers, of one
core; weights and activations have 6 bits. An interrupt ends the vectors of a row, which says how many there were.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

import bitsmith
from bitsmith.backends.rtl.design import read
from bitsmith.backends.rtl.simulate import simulate
from bitsmith.dataset import Dataset
from bitsmith.execution.batches import Batch, in_batches, vectors
from bitsmith.execution.interpreter import run, run_batched
from bitsmith.execution.reals import quantize_inputs
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.legality import backend_of
from bitsmith.module import Module
from bitsmith.recipe import Recipe
from bitsmith.target import Target, load_target
from tests.benchmarks.common import MODELS, REPOSITORY, markdown, working_folder
from tests.benchmarks.kept_rows import with_kept_rows
from tests.benchmarks.rtl import drawn

DIGITS = REPOSITORY / "models" / "digits"
VECTORS, BATCH = 1000, 25

CORNERS = 4
"""Of the inputs, which come first."""

UNROLLED = ("qonnx", "Vitis", "Quartus")
STREAMED = ("qonnx", "Vitis, streamed", "Vivado, streamed")


@dataclass(frozen=True)
class Model:
    """Its files, and by what it is run. files: of calibration and evaluation; None for noise."""

    path: Path
    files: tuple[Path, Path] | None
    tools: tuple[str, ...]

    @classmethod
    def shared(cls, name: str, *tools: str) -> Model:
        """One of the folder of shared models."""
        data = (MODELS / f"{name}.calib.npz", MODELS / f"{name}.eval.npz")
        return cls(MODELS / f"{name}.onnx", None if name.endswith("NODATA") else data, tools)

    def data(self, folder: Path) -> tuple[Path, Path]:
        """Calibration and evaluation data, drawn into a folder where there is none."""
        if self.files is not None:
            return self.files
        made = folder / "calibration.npz", folder / "evaluation.npz"
        for seed, path in enumerate(made):
            np.savez(path, x=drawn(self.path, 1024, seed))
        return made


MODELS_BY_NAME = {
    "digits": Model(DIGITS / "digits.onnx", (DIGITS / "calibration.npz", DIGITS / "evaluation.npz"), UNROLLED),
    "mnist_cnn": Model.shared("mnist_cnn", *UNROLLED),
    "jet_mlp_3layer_NODATA": Model.shared("jet_mlp_3layer_NODATA", *UNROLLED, "Verilator"),
    "jet_mlp_3layer_bn_NODATA": Model.shared("jet_mlp_3layer_bn_NODATA", *UNROLLED, "Verilator"),
    "dscnn_kws": Model.shared("dscnn_kws", *STREAMED),
    "resnet8_cifar10": Model.shared("resnet8_cifar10", *STREAMED),
}
SMALL = ("digits", "mnist_cnn")
SIX_BITS = Recipe(weights=6, activations=6, effort="fast")


def accuracy(graph: IntegerGraph, data: Path) -> float:
    """Top-1 over a whole file."""
    samples = opened(graph, data)
    found = [
        run_batched(graph, quantize_inputs(graph, batch))[graph.outputs[0]].argmax(axis=1)
        for batch in samples.batches(200)
    ]
    return float((np.concatenate(found) == samples.labels()).mean())


def opened(graph: IntegerGraph, data: Path) -> Dataset:
    """Samples in a file, as the model takes them."""
    return Dataset.open(data, {name: graph.values[name].shape for name in graph.inputs})


def by_bits(name: str) -> Iterator[list[str]]:
    """A row for each choice of bits."""
    model = MODELS_BY_NAME[name]
    assert model.files is not None
    calibration, evaluation = model.files
    (scored,) = bitsmith.evaluate(model.path, evaluation, metric="top1")
    real, full = float(scored.result.value), 0
    choices = {
        "8": lambda: Recipe(weights=8, activations=8),
        "6": lambda: Recipe(weights=6, activations=6),
        "half": lambda: Recipe(weights="mixed", activations="mixed", budgets={"luts": full / 2}),
        "a third": lambda: Recipe(weights="mixed", activations="mixed", budgets={"luts": full / 3}),
    }
    for label, recipe in choices.items():
        with working_folder() as folder:
            made = bitsmith.compile(
                model.path, "hls4ml-vitis", calibration, folder / "out", recipe=recipe(), explain=False
            )
            graph = made.graph
        tables = int(made.manifest["costs"]["luts"])
        full = full or tables
        reached = accuracy(graph, evaluation)
        layers = [one for one in graph if hasattr(one, "weight_format")]
        bits = [
            " ".join(str(one.weight_format.bits) for one in layers),
            " ".join(str(graph.operands(one)[0].format.bits) for one in layers),
        ]
        lost = f"{100 * (real - reached):+.2f}"
        yield [name, label, *bits, f"{tables:,}", f"{tables / full:.2f}", f"{real:.4f}", f"{reached:.4f}", lost]


def tools() -> Mapping[str, Target]:
    """Targets to simulate, by what they are called here."""
    stream = load_target("hls4ml-vitis-stream")
    return {
        "qonnx": load_target("qonnx"),
        "Vitis": load_target("hls4ml-vitis"),
        "Quartus": load_target("hls4ml-quartus"),
        "Vitis, streamed": stream,
        "Vivado, streamed": replace(stream, name="vivado-stream", options={**stream.options, "tool": "Vivado"}),
        "Verilator": load_target("rtl"),
    }


def lowered(model: Path, calibration: Path, target: Target, recipe: Recipe) -> IntegerGraph:
    """The integer graph that a compile makes, without its artifacts."""
    graph = load_graph(model)
    shapes = {value.name: value.sample_shape for value in graph.inputs}
    module = Module(graph, target, Dataset.open(calibration, shapes))
    recipe.passes(target).run(module)
    return module.require_integer()


def simulated(name: str, tool: str) -> list[str]:
    """What a tool's simulation of a network takes to compile, and in how many elements it differs."""
    model, target = MODELS_BY_NAME[name], tools()[tool]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = wrong = total = 0
    reached: set[str] = set()
    with working_folder() as folder:
        calibration, evaluation = model.data(folder)
        graph = lowered(model.path, calibration, target, SIX_BITS)
        backend_of(target).emit(graph, target, folder)
        for batch in in_batches(given(graph, evaluation), VECTORS if tool == "Verilator" else BATCH):
            try:
                found, expected = executed(graph, target, folder, batch), run(graph, batch, keep=True)
            except KeyboardInterrupt:
                break
            done += len(batch[graph.inputs[0]])
            wrong += sum(int((found[key] != expected[key]).sum()) for key in graph.outputs)
            total += sum(found[key].size for key in graph.outputs)
            reached |= saturated(graph, expected)
            print(f"{name}, {tool}: {done:,}", end="\r", file=sys.stderr, flush=True)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    clamped = sum(1 for one in graph if hasattr(one, "requantize"))
    compiler = f"{seconds:.0f} s" if seconds >= 0.5 else ""
    return [name, tool, f"{done:,}", f"{len(reached)} of {clamped}", compiler, f"{wrong:,} of {total:,}"]


def given(graph: IntegerGraph, evaluation: Path) -> Batch:
    """Corners of the inputs; then noise and real samples, mixed."""
    made = vectors(graph, VECTORS // 2, seed=3)
    real = quantize_inputs(graph, next(opened(graph, evaluation).batches(VECTORS // 2)))
    order = np.random.default_rng(0).permutation(np.arange(CORNERS, VECTORS))
    order = np.concatenate([np.arange(CORNERS), order])
    return {key: np.concatenate([made[key], real[key]])[order] for key in made}


def executed(graph: IntegerGraph, target: Target, folder: Path, inputs: Batch) -> Mapping[str, npt.NDArray[np.generic]]:
    """What was written makes of integers: by its own backend, or its Verilog by Verilator."""
    if target.backend != "rtl":
        found: Mapping[str, npt.NDArray[np.generic]] = backend_of(target).run(graph, folder, inputs)
        return found
    circuit = read(graph, folder / "rtl" / "circuit.json")
    texts = {path.name: path.read_text(encoding="utf-8") for path in (folder / "rtl").iterdir() if path.is_file()}
    simulated = simulate(circuit, texts, [inputs[name] for name in graph.inputs])
    return dict(zip(graph.outputs, simulated, strict=True))


def saturated(graph: IntegerGraph, values: Mapping[str, npt.NDArray[np.generic]]) -> set[str]:
    """Operations whose results reach the upper end of their clamp."""
    clamped = [one for one in graph if hasattr(one, "requantize")]
    return {one.name for one in clamped if int(values[one.output].max()) == one.requantize.highest}


BITS = ["model", "bits", "of weights, by layer", "of their inputs", "LUTs, estimated", "of 8 bits'", "float"]
BITS += ["top-1", "points lost"]
TOOLS = ["model", "by", "vectors", "saturated layers", "compilers", "elements that differ"]


def tool_rows(name: str, wanted: Sequence[str]) -> Iterator[list[str]]:
    """A row for each tool of those that are wanted."""
    return (simulated(name, tool) for tool in MODELS_BY_NAME[name].tools if tool in wanted)


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", action="store_true", help="the first table alone")
    parser.add_argument("--tools", action="store_true", help="the second table alone")
    parser.add_argument("--only", nargs="+", choices=MODELS_BY_NAME, default=list(MODELS_BY_NAME))
    parser.add_argument("--by", nargs="+", choices=tools(), default=list(tools()), help="of the second table")
    parser.add_argument("--write", type=Path, help="a file, whose rows that are not measured now stay")
    options = parser.parse_args()
    small = [name for name in options.only if name in SMALL]
    every: dict[str, tuple[list[str], list[str], Callable[[str], Iterator[list[str]]]]] = {
        "bits": (BITS, small, by_bits),
        "tools": (TOOLS, options.only, partial(tool_rows, wanted=options.by)),
    }
    asked = [name for name in every if getattr(options, name)] or list(every)
    tables = []
    for table, (header, names, measured) in every.items():
        rows = []
        for row in (row for name in names if table in asked for row in measured(name)):
            print(" | ".join(row), file=sys.stderr, flush=True)
            rows.append(row)
        tables.append(markdown(header, with_kept_rows(options.write, header, rows, 2)))
    text = "\n\n".join(tables)
    print(text)
    if options.write:
        said = [part for part in (__doc__ or "").strip().split("\n\n") if not part.startswith("usage")]
        options.write.write_text("# FPGA firmware\n\n" + "\n\n".join([*said, text]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
