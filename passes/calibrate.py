"""Take statistics of activations on the calibration data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.errors import PipelineError
from bitsmith.execution.observe import observe
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

FEWEST_BINS, MOST_BINS = 16, 1 << 16


@dataclass(frozen=True)
class Calibrate(Pass):
    """Run the float graph over the calibration data and keep what its activations looked like.

    Of every activation that exists as an integer tensor: minimum, maximum, mean per channel, and a histogram.
    One run over the data, in memory that does not grow with the number of samples.

    batch_size: samples that run at once: few, so that their activations are still in the processor's cache when
                they are counted, and fewer where they would take too much memory.
    bins:       of each histogram at most, 16 to 65536.
    grams:      whether to take second moments of the inputs of linear layers too, for passes that learn rounding.
    """

    name: ClassVar[str] = "calibrate"

    batch_size: int = 8
    bins: int = 2048
    grams: bool = False

    def run(self, module: Module) -> Changes:
        for option, limits in (("batch_size", (1, None)), ("bins", (FEWEST_BINS, MOST_BINS))):
            self._require(option, *limits)
        module.statistics = observe(
            module.graph,
            module.require_calibration(),
            batch_size=self.batch_size,
            bins=self.bins,
            grams=self.grams,
            progress=module.progress,
        )
        changes = Changes()
        for name in module.statistics.values:
            changes.change(name)
        return changes

    def _require(self, option: str, fewest: int, most: int | None) -> None:
        given = getattr(self, option)
        if given < fewest or (most is not None and given > most):
            allowed = f"{fewest} to {most}" if most is not None else f"at least {fewest}"
            raise PipelineError(f"{option}={given}", where=f"pass {self.name}", fix=f"Give {allowed}.")
