"""2-bit look-ups against 8-bit products on AVX2: the same layers, one thread, runs of all kernels in turn.

usage: python -m tests.benchmarks.x86 [--layers NAME ...] [--rounds N] [--count] [--count-peer NAME] [--write FILE.md]

The layers are all that the bodies of ResNet-18, 34 and 50 (He et al. 2015, arXiv:1512.03385, table 1, at 224x224) are
made of, each once: the networks that DeepGEMM (arXiv:2304.09049) is about. The stem, whose inputs have 8 bits, and the
classifier are left out, as is usual where the rest has 2. The kernels are this project's own, built with gcc -O2 -mavx2
from what `x86-64-avx2` writes for one convolution, with its windows, borders and requantization, and met in every
element by the interpreter. A round times a run of each, one after the other; ratios are of the shortest times, and of
the medians. Weights are noise that uses all levels alike.

ONNX Runtime's QLinearConv stands beside them, on one thread too. It takes the widest vectors that a machine has, where
ours are AVX2's. --count: instructions of ours, by callgrind. --count-peer: of a layer in ONNX Runtime, for which
callgrind shows a machine with AVX2 and nothing wider.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c import Program, build, host, sources
from bitsmith.backends.c.text import render
from bitsmith.execution.interpreter import run
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Conv, IntegerGraph, Requantize, Value
from bitsmith.target import load_target
from tests.benchmarks.common import REPOSITORY, markdown, working_folder
from tests.benchmarks.x86_peer import Peer, model


@dataclass(frozen=True)
class Layer:
    """A convolution without bias of `inputs` channels on side x side pixels, padded so that stride 1 keeps the side."""

    networks: str
    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int

    @property
    def name(self) -> str:
        return f"{self.kernel}x{self.kernel}/{self.stride} {self.side}x{self.side}x{self.inputs}->{self.outputs}"

    @property
    def pixels(self) -> int:
        return (-(-self.side // self.stride)) ** 2

    @property
    def macs(self) -> int:
        return self.pixels * self.outputs * self.inputs * self.kernel**2


def layers() -> list[Layer]:
    """The convolutions of the bodies of ResNet-18, 34 and 50."""
    found = []
    for stage in range(4):
        side, width = 56 >> stage, 64 << stage
        if stage:
            found.append(Layer("18, 34", 2 * side, width // 2, width, 3, 2))
            found.append(Layer("18, 34", 2 * side, width // 2, width, 1, 2))
            # The stride of ResNet-50 is taken by the 3x3 convolution, as all current implementations have it.
            found.append(Layer("50", 2 * side, 2 * width, width, 1, 1))
            found.append(Layer("50", 2 * side, width, width, 3, 2))
            found.append(Layer("50", 2 * side, 2 * width, 4 * width, 1, 2))
        else:
            found.append(Layer("50", side, width, width, 1, 1))
        found.append(Layer("18, 34, 50", side, width, width, 3, 1))
        found.append(Layer("50", side, width, 4 * width, 1, 1))
        found.append(Layer("50", side, 4 * width, width, 1, 1))
    return found


def graph(layer: Layer, bits: int) -> IntegerGraph:
    """The layer with weights and inputs of so many bits; inputs are as a Relu leaves them."""
    random = np.random.default_rng(bits)
    narrow, wide = IntegerType(bits), IntegerType(bits, signed=bits == 8)
    shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    scales = random.uniform(0.5, 2.0, layer.outputs) / (narrow.highest * np.prod(shape[1:]) ** 0.5)
    form = Format(wide, (0.05,), wide.lowest)
    pad = layer.kernel // 2
    multiplier, shift = dyadic(scales)
    operation = Conv(
        "layer",
        ("x",),
        "y",
        weight=random.integers(narrow.lowest, narrow.highest, shape, endpoint=True),
        bias=random.integers(-100, 100, layer.outputs).astype(np.int32),
        weight_format=Format(narrow, tuple(scales), axis=0),
        strides=(layer.stride,) * 2,
        pads=(pad,) * 4,
        dilations=(1, 1),
        groups=1,
        requantize=Requantize(multiplier.reshape(-1, 1, 1), shift, wide.lowest, wide.lowest, wide.highest),
    )
    made = -(-layer.side // layer.stride)
    values = {
        "x": Value("x", (layer.inputs, layer.side, layer.side), form),
        "y": Value("y", (layer.outputs, made, made), form),
    }
    return IntegerGraph("layer", values, ("x",), ("y",), (operation,))


class Built:
    """A layer as a shared library, with an input and room for what it makes."""

    def __init__(self, layer: Layer, bits: int, folder: Path) -> None:
        self.program: Program = build(graph(layer, bits), load_target("x86-64-avx2"))
        self.folder = folder / f"bits{bits}"
        self.folder.mkdir()
        for name, text in sources(self.program).items():
            (self.folder / name).write_text(text, encoding="utf-8")
        self.compile("-fPIC", "-shared", "model.c", "-o", "model.so")
        self.function = ctypes.CDLL(str(self.folder / "model.so")).model_run_in
        tensor = self.program.tensors["x"]
        kind = tensor.format.type
        self.inputs = np.random.default_rng(0).integers(
            kind.lowest, kind.highest, (1, *tensor.logical), kind.storage, endpoint=True
        )
        self.given = tensor.stored(self.inputs)
        self.made = np.zeros((1, self.program.tensors["y"].elements), kind.storage)
        self.arena = np.zeros(self.program.memory.total, np.int8)
        self.pointers = [ctypes.c_void_p(array.ctypes.data) for array in (self.arena, self.given, self.made)]

    def compile(self, *arguments: str) -> None:
        """Run the compiler in the layer's folder."""
        command = [host.require_compiler(), "-std=c99", "-O2", "-mavx2", *arguments]
        subprocess.run(command, cwd=self.folder, check=True)

    @property
    def family(self) -> str:
        return self.program.steps[0].kernel.family

    def run(self) -> None:
        """One inference."""
        self.function(*self.pointers)

    def differing(self) -> int:
        """Elements of the result that are not the interpreter's."""
        self.run()
        expected = run(self.program.graph, {"x": self.inputs})["y"]
        found: npt.NDArray[np.integer] = self.program.tensors["y"].restored(self.made)
        return int((found != expected).sum())

    def instructions(self) -> int:
        """Of one run, whole."""
        values = {"inputs": [self.program.tensors["x"]], "outputs": [self.program.tensors["y"]], "name": "layer"}
        (self.folder / "harness.c").write_text(render("harness.c.j2", values) + "\n", encoding="utf-8")
        self.compile("model.c", "harness.c", "-o", "model")
        return counted(["--toggle-collect=model_run_in", str(self.folder / "model")], self.given.tobytes())


def counted(command: Sequence[str], given: bytes = b"") -> int:
    """Instructions that callgrind counts."""
    told = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        input=given,
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = re.search(r"Collected : (\d+)", told.stderr.decode(errors="replace"))
    assert found is not None
    return int(found[1])


def peer_model(layer: Layer, folder: Path) -> Path:
    """The layer as a file for ONNX Runtime."""
    whole = graph(layer, 8)
    (operation,) = whole.operations
    assert isinstance(operation, Conv)
    path = folder / "peer.onnx"
    path.write_bytes(model(operation, whole.values["x"].shape, whole.values["y"].shape).SerializeToString())
    return path


def peer_instructions(layer: Layer, folder: Path, more: int = 4) -> int:
    """Of a run in ONNX Runtime: what further runs add, divided by their number."""
    command = [sys.executable, "-m", "tests.benchmarks.x86_peer", str(peer_model(layer, folder))]
    once, often = (counted([*command, str(runs)]) for runs in (1, 1 + more))
    return (often - once) // more


KINDS = ("8", "2", "ONNX Runtime")


@dataclass(frozen=True)
class Measured:
    """A layer's times by kind, in seconds, and instructions where they were counted."""

    layer: Layer
    times: dict[str, npt.NDArray[np.float64]]
    instructions: dict[str, int]

    def row(self) -> list[str]:
        """A line of the table."""
        layer, times = self.layer, self.times
        speeds = [f"{layer.macs / times[kind].min() / 1e9:.1f}" for kind in KINDS]
        ratios = [f"{times['8'].min() / times['2'].min():.2f}", f"{np.median(times['8']) / np.median(times['2']):.2f}"]
        counts = [f"{count / layer.macs:.3f}" for count in self.instructions.values()]
        return [layer.networks, layer.name, f"{layer.macs:,}", *speeds[:2], *ratios, *counts, speeds[2]]


def measure(layer: Layer, folder: Path, rounds: int, counts: bool) -> Measured:
    """Run all kinds in turn."""
    built = {"8": Built(layer, 8, folder), "2": Built(layer, 2, folder)}
    for one, expected in zip(built.values(), ("avx2 words", "avx2 tables"), strict=True):
        assert one.family == expected, one.family
        wrong = one.differing()
        assert wrong == 0, f"{wrong} elements differ in {expected}"
    runs = {**{kind: one.run for kind, one in built.items()}, "ONNX Runtime": Peer(peer_model(layer, folder)).run}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            started = time.perf_counter()
            runs[kind]()
            times[kind].append(time.perf_counter() - started)
    instructions = {kind: one.instructions() for kind, one in built.items()} if counts else {}
    return Measured(layer, {kind: np.array(one) for kind, one in times.items()}, instructions)


def main(arguments: Sequence[str]) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=[""], help="parts of names")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--count-peer", metavar="NAME", help="part of a layer's name")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    found = []
    for layer in layers():
        if any(part in layer.name for part in options.layers):
            with working_folder() as folder:
                found.append(measure(layer, folder, options.rounds, options.count))
            print(" | ".join(found[-1].row()), file=sys.stderr, flush=True)
    counts = ["8-bit instructions/MAC", "2-bit instructions/MAC"] if options.count else []
    header = ["ResNet", "layer", "MACs", "8-bit MACs/ns", "2-bit MACs/ns", "ratio", "of medians", *counts]
    text = markdown([*header, "ONNX Runtime 8-bit MACs/ns"], [one.row() for one in found])
    ratios = np.array([one.times["8"].min() / one.times["2"].min() for one in found])
    mean = np.exp(np.log(ratios).mean())
    text += f"\n\nRatios: {ratios.min():.2f} to {ratios.max():.2f}, {mean:.2f} in the geometric mean."
    if options.count_peer:
        layer = next(one for one in layers() if options.count_peer in one.name)
        with working_folder() as folder:
            spent = peer_instructions(layer, folder)
        text += (
            f"\n\nONNX Runtime on AVX2, {layer.name}: {spent / layer.macs:.3f} instructions/MAC, all of them counted."
        )
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
