"""Give the shares that a softmax makes a format of powers, where that loses less than equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.errors import PipelineError
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.runtime import Session
from bitsmith.ir.formats import Format, logarithm
from bitsmith.ir.fusion import is_left_to_host, is_product
from bitsmith.ir.graph import Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

BATCH = 16
STEPS_PER_OCTAVE = 37
"""AdaLog's r: bases are 2^(p / 37)."""

LARGEST = 2 * STEPS_PER_OCTAVE
"""Of p: a base of 4."""

OCTAVES = 16
"""Below 2^-16 no power lies: a softmax's exponentials have 23 bits."""


@dataclass(frozen=True)
class QuantizeSoftmax(Pass):
    """Change the format of what an attention's softmax makes from equal steps to powers: real = base^-q.

    Most shares are small and a few are near 1, which equal steps hold badly: of 4 bits one is 1/15 at best. Powers of
    a base hold all to the same part of their size (RepQ-ViT, Li et al. 2022, arXiv:2212.08254, section 3.4, with base
    sqrt 2). The base is the 2^(p/37), p from 1 to 74, with the least squared error over the shares of some calibration
    samples (AdaLog, Wu et al. 2024, arXiv:2407.12951, equations 5 to 8, which searches on the product's error instead).
    The largest integer stands for 0, so that many shares that are next to nothing do not add up.

    A softmax keeps its equal steps where they lose less, where they have 8 bits or more, or where anything but the
    left side of a product reads it. Its bits stay as they were decided.

    samples: how many to choose by.
    """

    name: ClassVar[str] = "quantize-softmax"

    samples: int = 128

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Softmax"):
            reason = _refusal(node, module)
            if reason is not None:
                changes.refuse(node, reason)
                continue
            old = module.plan[node.output.name]
            shares = self._shares(node, module)
            best = min(_candidates(old.type.bits), key=shares.loss)
            found, kept = shares.loss(best), shares.loss(old)
            if found >= kept:
                changes.refuse(node, f"powers would lose {found / kept:.3g} times what equal steps do")
                continue
            module.plan = module.plan.with_formats({node.output.name: best})
            changes.note(f"{node.name}: base {best.base:.4g} loses {found / kept:.2g} of what equal steps do")
            changes.change(node)
        return changes

    def _shares(self, node: Node, module: Module) -> Shares:
        data = module.require_calibration().take(self.samples)
        session = Session(module.graph, [node.output.name])
        batches = data.batches(fitting_batch([node.output], BATCH))
        return Shares.of(np.concatenate([session.run(batch)[node.output.name].ravel() for batch in batches]))


def _candidates(bits: int) -> list[Format]:
    """Formats of powers of so many bits, with bases from 2^(1/37) on."""
    largest = max(1, min(LARGEST, (OCTAVES * STEPS_PER_OCTAVE) >> bits))
    return [logarithm(bits, 2 ** (p / STEPS_PER_OCTAVE)) for p in range(1, largest + 1)]


def _refusal(node: Node, module: Module) -> str | None:
    value = node.output
    if is_left_to_host(node):
        return "left to the host"
    if value.name not in module.plan:
        if any(reader.op in ("Relu", "Clip") for reader in value.consumers):
            return "its shares are clipped"
        raise PipelineError(
            f"{value.name} has no format yet", where=node.where, fix="Put quantize-activations before quantize-softmax."
        )
    if module.plan[value.name].type.bits >= 8:
        return "8 bits hold its shares well"
    if value.is_output or any(not is_product(one) or one.operand(1) == value for one in value.consumers):
        return f"{value.name} is not read by the left side of products alone"
    return None


@dataclass(frozen=True, eq=False)
class Shares:
    """Numbers from 0 to 1, as how many there are of each: by cell of a grid of logarithms.

    reals: the mean of each cell. counts: how many lie in it.
    """

    reals: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, shares: npt.NDArray[np.float32]) -> Shares:
        """64 cells an octave down to 2^-32, so that a format is tried in no time, whatever the number of samples."""
        wide = shares.astype(np.float64)
        cells = np.clip(-64 * np.log2(np.maximum(wide, 2.0**-32)), 0, 2048).astype(np.int64)
        counts = np.bincount(cells)
        sums = np.bincount(cells, weights=wide)
        held = counts > 0
        return cls(sums[held] / counts[held], counts[held])

    def loss(self, chosen: Format) -> float:
        """The sum of squared errors of rounding them by a format."""
        rounded = chosen.dequantize(chosen.quantize(self.reals)).astype(np.float64)
        return float((self.counts * np.square(rounded - self.reals)).sum())
