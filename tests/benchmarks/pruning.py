"""What a price of digits saves: look-up tables of the jet tagger against the noise of its outputs.

usage: python -m tests.benchmarks.pruning [--write FILE.md]

`reconstruct{price=...}` charges every signed power of two in a weight a part of the power of its output's signal
(passes/rounding/spare.py), so that weights lose digits, down to none, where their outputs hardly miss them. Inputs are
drawn from a standard normal distribution, since the jet tagger comes without data; noise is that of the five outputs
on 10,000 more of them, agreement how often the class is the float model's. Look-up tables are da4ml's estimates, which
rtl.md holds to yosys.

"Of those without" are the tables over what bits alone would take for as little noise: interpolated between the rows
without a price, of one width for all layers or of mixed ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

import bitsmith
from bitsmith.backends.rtl import RtlBackend
from bitsmith.execution.interpreter import run_batched
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.target import load_target
from tests.benchmarks.common import MODELS, markdown, working_folder
from tests.benchmarks.rtl import CALIBRATION, EVALUATION, JET, Variant, drawn, mixed, pruned

UNIFORM = [Variant(f"w{bits} a6", bits, 6) for bits in (6, 5, 4, 3, 2)]
MIXED = [mixed(luts) for luts in (24000, 16000, 12000, 8000)]
PRICED = {
    "uniform": [pruned(UNIFORM[0], price) for price in (0.0003, 0.001, 0.003, 0.01)]
    + [pruned(Variant("w8 a6", 8, 6), price) for price in (0.0003, 0.001, 0.003)],
    "mixed": [pruned(MIXED[0], price) for price in (0.0003, 0.001, 0.003)]
    + [pruned(MIXED[1], price) for price in (0.001, 0.003)]
    + [pruned(MIXED[2], 0.003)],
}
HEADER = ["quantized", "price", "weights of 0", "LUTs, estimated", "signal to noise", "agreement", "of those without"]


@dataclass(frozen=True)
class Result:
    """A circuit. zeros: part of all weights. noise: in dB below the signal."""

    variant: Variant
    zeros: float
    luts: float
    noise: float
    agreement: float

    def texts(self, others: Sequence[Result]) -> list[str]:
        """Cells of the table. others: those without a price."""
        price = f"{self.variant.price:g}" if self.variant.price else ""
        ordered = sorted(others, key=lambda one: one.noise)
        share = ""
        if price and ordered[0].noise <= self.noise <= ordered[-1].noise:
            alike = np.interp(self.noise, [one.noise for one in ordered], [np.log(one.luts) for one in ordered])
            share = f"{self.luts / np.exp(alike):.2f}"
        name = self.variant.name.removesuffix(", pruned")
        figures = f"{self.zeros:.0%}", f"{self.luts:,.0f}", f"{self.noise:.1f} dB", f"{self.agreement:.4f}"
        return [name, price, *figures, share]


def measured(variant: Variant) -> Result:
    """Compile, and compare with the float model."""
    model, target = MODELS / f"{JET}.onnx", load_target("rtl")
    with working_folder() as folder:
        np.savez(folder / "data.npz", x=drawn(model, CALIBRATION, seed=0))
        made = bitsmith.compile(
            model, target, folder / "data.npz", folder / "out", recipe=variant.recipe, explain=False
        )
        graph = made.graph
    x = drawn(model, EVALUATION, seed=1)
    session = ort.InferenceSession(model)
    real = np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0], np.float64)
    found = dequantize_outputs(graph, run_batched(graph, quantize_inputs(graph, {graph.inputs[0]: x})))
    given = found[graph.outputs[0]].astype(np.float64)
    weights = np.concatenate([one.weight.ravel() for one in graph if hasattr(one, "weight")])
    return Result(
        variant,
        float((weights == 0).mean()),
        sum(RtlBackend().luts(graph, target).values()),
        float(10 * np.log10((real**2).sum() / ((given - real) ** 2).sum())),
        float((given.argmax(axis=1) == real.argmax(axis=1)).mean()),
    )


def main() -> None:
    """Compile all, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if not (MODELS / f"{JET}.onnx").is_file():
        sys.exit(f"{JET}.onnx is not there. Point BITSMITH_MODELS at the folder of shared models.")
    rows: list[list[str]] = []
    for without, priced in ((UNIFORM, PRICED["uniform"]), (MIXED, PRICED["mixed"])):
        others = [measured(variant) for variant in without]
        rows += [one.texts(others) for one in (*others, *map(measured, priced))]
    text = markdown(HEADER, rows)
    print(text)
    if options.write:
        said = [part for part in (__doc__ or "").strip().split("\n\n") if not part.startswith("usage")]
        options.write.write_text("# Pruning\n\n" + "\n\n".join([*said, text]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
