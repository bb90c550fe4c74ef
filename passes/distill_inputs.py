"""Make calibration inputs where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.arrays import MemoryArrays
from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.ir.moments import BatchNorms
from bitsmith.manager import Changes, Pass
from bitsmith.module import DISTILLED, NOISE, Module
from bitsmith.passes.data_free.distill import FloatArray, distilled, prepared
from bitsmith.passes.data_free.inputs import noise, reason_for
from bitsmith.passes.data_free.located import located


class MadeUpArrays(MemoryArrays):
    """Samples that no one measured."""

    name = "no data"


@dataclass(frozen=True)
class DistillInputs(Pass):
    """Move noise until the model's activations have the statistics that its batch normalisations remember.

    The inputs are found by Adam on the distance between the moments of every normalised value on them and its
    running moments (ZeroQ; Cai et al. 2020, arXiv:2001.00281, section 3.1). They stand in for calibration data in all
    passes that follow. A model without batch normalisation gets the noise itself.

    samples: how many to make. batch: how many are moved together, whose moments are compared.
    steps:   of Adam for each batch; 0 leaves the noise as it is.
    rate:    of the first step, in standard deviations of the input.
    """

    name: ClassVar[str] = "distill-inputs"

    samples: int = 64
    batch: int = 32
    steps: int = 60
    rate: float = 0.1

    def run(self, module: Module) -> Changes:
        self._check()
        changes = Changes()
        norms = module.batch_norms
        if norms is None:
            raise PipelineError(
                "nothing was kept of the model's batch normalisations",
                fix="Put record-batch-norms before fold-batch-norm in the pipeline.",
            )
        changes.notes.extend(reason_for(name, moments) for name, moments in norms.inputs.items())
        arrays = self._distilled(module, norms, changes) if norms.values and self.steps else None
        if arrays is None:
            random = np.random.default_rng(module.seed)
            arrays = {
                value.name: noise((self.samples, *value.sample_shape), norms.inputs[value.name], random)
                for value in module.graph.inputs
            }
            changes.note(f"no data: {self.samples} samples of noise stand in for it" + self._why(norms))
            module.made_up = NOISE
        else:
            module.made_up = DISTILLED
        shapes = {value.name: value.sample_shape for value in module.graph.inputs}
        module.calibration = Dataset.from_source(MadeUpArrays(arrays), shapes)
        for name in arrays:
            changes.change(name)
        return changes

    def _why(self, norms: BatchNorms) -> str:
        return "" if norms.values else ", since the model keeps no batch normalisation to distil inputs from"

    def _distilled(self, module: Module, norms: BatchNorms, changes: Changes) -> dict[str, FloatArray] | None:
        """Inputs by name; None where the reverse pass is not known, which is then noted."""
        found = located(module.graph, norms)
        for name, reason in found.lost.items():
            changes.refuse(name, reason)
        wanted = {name: moments for name, moments in found.known.items() if name not in norms.inputs}
        if not wanted:
            return None
        work = prepared(module.graph, wanted, self.batch)
        if isinstance(work, list):
            changes.refuse(work[0], "gradients do not pass through this op, so inputs cannot be distilled")
            return None
        inputs = {value.name: (value.sample_shape, norms.inputs[value.name]) for value in module.graph.inputs}
        arrays, before, after = distilled(
            work,
            inputs,
            samples=self.samples,
            batch=self.batch,
            steps=self.steps,
            rate=self.rate,
            random=np.random.default_rng(module.seed),
            progress=module.progress,
        )
        changes.note(
            f"no data: {self.samples} inputs distilled from {len(wanted)} batch normalisations, whose moments "
            f"they miss by {(after / len(wanted) / 2) ** 0.5:.2f} deviations (noise: "
            f"{(before / len(wanted) / 2) ** 0.5:.2f})"
        )
        return arrays

    def _check(self) -> None:
        for name, least in (("samples", 1), ("batch", 2), ("steps", 0)):
            if getattr(self, name) < least:
                raise PipelineError(
                    f"{name}={getattr(self, name)}", where=f"pass {self.name}", fix=f"Give at least {least}."
                )
        if not self.rate > 0:
            raise PipelineError(f"rate={self.rate}", where=f"pass {self.name}", fix="Give more than 0.")
