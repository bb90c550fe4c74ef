"""Round weights layer by layer, each on what the layers before it really give once they are quantized."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.execution.patches import patch_bytes, patches
from bitsmith.execution.threads import one_blas_thread
from bitsmith.ir.formats import Format, to_power_of_two
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Node, Value
from bitsmith.ir.linear import LINEAR, bias_value, weight_value
from bitsmith.ir.sharing import format_groups
from bitsmith.ir.steps import Step, steps
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.reconstruct.moments import FloatArray, Moments, Reals, StreamingMoments
from bitsmith.passes.reconstruct.prominence import position_weights
from bitsmith.passes.reconstruct.ranges import least, residual, squared
from bitsmith.passes.reconstruct.resolve import resolve
from bitsmith.passes.reconstruct.side_by_side import SideBySide
from bitsmith.passes.rounding import SOLVERS
from bitsmith.passes.rounding.fit import fit
from bitsmith.passes.rounding.layer import outputs_by_group, put_rows, rows_of
from bitsmith.passes.rounding.spare import spared

NARROW = 7
"""Activations of at most so many bits have their range chosen here; 8 bits lose little in any range that fits."""

MOST_GAIN = 2.0
"""Of a channel, by which it is retuned: one that lost more than that is mostly noise."""

PART = 8 << 20
"""Bytes of patches made at a time, unless those of one sample take more: they fit in a processor's cache."""

TRIAL_ELEMENTS = 1 << 20
"""Of an activation, on which its range is chosen: of all samples, but not of all positions."""

TRIAL_INPUTS = 1 << 18
"""Elements of an input on which its range is chosen: whole samples, since windows are regressed on."""


@dataclass(frozen=True)
class Reconstruct(Pass):
    """Give each layer the integers with which the quantized network, up to it, comes closest to the float one.

    Layer by layer in execution order, x being the inputs that the quantized layers before give and t the outputs
    that the float network has in that place:

    - the target weight is W' = W + cov(t - W x, x) (H + lambda I)^-1, with H = cov(x) and lambda by cross-validation,
      so that a layer makes up for errors of those before it (asymmetric calibration, as in Nagel et al. 2020,
      arXiv:2004.10568, equation 25, solved in closed form);
    - the integers v and the scale s minimise (W' - s v) H (W' - s v)^T (passes/rounding);
    - the bias is the mean of t less s v times the mean of x, which takes the mean of all errors so far out
      (empirical bias correction, Nagel et al. 2019, arXiv:1906.04721, section 4.2, on the quantized prefix).

    Where a layer's output is only added to a skip connection, the error of that is part of what it makes up for.
    Activations of few bits get their range there and then. In the moments of a layer that reads such activations,
    positions that stand out in a sample count less than in full (position_weights).

    solver:  of the rounding problem.
    damping: part of H's mean diagonal added to its diagonal there, above 0: what keeps weights near their targets in
             directions that the calibration data do not show.
    samples: how many of the calibration data are used, at most.
    resolve: whether to solve for a target weight, or to take the float one.
    ranges:  whether to choose ranges of activations of at most 7 bits anew.
    retune:  whether to scale each channel so that the variance of its outputs is what it was, too: what re-estimating
             the statistics of batch normalisations after rounding does where they are folded (Hubara et al. 2020,
             arXiv:2006.10518, section 3.4). It trades squared error for contrast; weights with free scales per channel.
    scales:  free, or power-of-two, of all that is chosen here.
    price:   of a signed power of two in a weight, as a part of the power of its output's signal (passes/rounding/
             spare.py): above 0 for fabric, where each takes an adder, and weights of none are pruned.
    """

    name: ClassVar[str] = "reconstruct"
    preserves: ClassVar[bool] = False

    solver: str = "gptq"
    damping: float = 0.01
    samples: int = 512
    resolve: bool = True
    ranges: bool = True
    retune: bool = False
    scales: str = "free"
    price: float = 0.0

    def run(self, module: Module) -> Changes:
        if self.solver not in SOLVERS:
            fix = registry.suggest(self.solver, SOLVERS)
            raise PipelineError(f"there is no solver {self.solver}", where=f"pass {self.name}", fix=fix)
        if not 0 < self.damping < math.inf:
            raise PipelineError(f"damping={self.damping}", where=f"pass {self.name}", fix="Give more than 0.")
        if self.scales not in ("free", "power-of-two"):
            raise PipelineError(f"scales={self.scales}", where=f"pass {self.name}", fix="Give free or power-of-two.")
        if not 0 <= self.price < math.inf:
            raise PipelineError(f"price={self.price}", where=f"pass {self.name}", fix="Give 0, or a little more.")
        with one_blas_thread():
            return _Run(self, module).changes()


class _Run:
    """One run of the pass: the float graph as it came, and the module's, whose layers it rounds one after another."""

    def __init__(self, options: Reconstruct, module: Module) -> None:
        self._options = options
        self._module = module
        self._float = module.graph.copy()
        data = module.require_calibration().take(options.samples)
        self._require_formats()
        if len(data) < 2:
            raise PipelineError(
                "one half of the samples must check what is learned from the other, and there are not two samples",
                where=f"pass {options.name}",
                fix="Give more calibration data, or leave this pass out.",
            )
        self._networks = SideBySide(module.graph, data, module.plan)
        half = np.arange(len(data)) % 2 == 0
        self._half = np.random.default_rng(module.seed).permutation(half)
        self._fixed = set[str]()
        self._groups: dict[str, list[Value]] = {}
        for group in format_groups(module.graph, materialised(module.graph)):
            self._groups.update((value.name, group) for value in group)
            if any(value.producer is not None and value.producer.op == "Concat" for value in group):
                # Its range must cover branches that are not there yet when the first of them is.
                self._fixed.update(value.name for value in group)

    def changes(self) -> Changes:
        """Do it."""
        changes = Changes()
        ours, theirs = steps(self._module.graph), steps(self._float)
        for value in self._float.inputs:
            self._enter(value)
        last = {value.name: index for index, step in enumerate(ours) for value in step.reads}
        for index, (step, origin) in enumerate(zip(ours, theirs, strict=True)):
            self._module.progress("reconstruct", index, len(ours))
            if step.is_linear:
                halves = self._collect(step, origin)
                self._round(step, halves, changes)
            else:
                for _ in self._networks.run_real(self._float, origin):
                    pass
            self._finish(step)
            self._networks.drop([value for value in step.reads if last[value.name] == index])
        self._module.progress("reconstruct", len(ours), len(ours))
        return changes

    def _collect(self, step: Step, origin: Step) -> tuple[Moments, Moments]:
        """Run a linear step of the float network; the moments of both halves of the samples."""
        halves = StreamingMoments(), StreamingMoments()
        (read,) = step.reads
        # Of 8 bits even a huge value is held, and weights can be fitted to it; a narrow range has clipped it.
        is_narrow = self._module.plan[read.name].type.bits <= NARROW
        seen = 0
        targets = self._targets(step, origin)
        for batch, target in zip(self._networks.rounded(read.name), targets, strict=True):
            inputs = batch[read.name]
            first = self._half[seen : seen + len(inputs)]
            seen += len(inputs)
            weights = position_weights(step.leader, target) if is_narrow else None
            for half, chosen in zip(halves, (first, ~first), strict=True):
                kept = None if weights is None else weights[chosen]
                _add(half, step.leader, inputs[chosen], target[chosen], kept)
        moments = halves[0].result(), halves[1].result()
        if bias_value(step.leader) is None and step.leader.op == "MatMul":
            return moments[0].about_zero(), moments[1].about_zero()
        return moments

    def _targets(self, step: Step, origin: Step) -> Iterator[FloatArray]:
        """What the layer should give, batch by batch; the float network's step is run and kept on the way."""
        skip = self._skip(step)
        made = self._networks.run_real(self._float, origin, origin.total)
        if skip is None:
            for batch in made:
                yield batch[origin.total.name]
        else:
            pairs = zip(self._networks.real(skip), self._networks.rounded(skip), strict=True)
            for batch, (real, rounded) in zip(made, pairs, strict=True):
                yield batch[origin.total.name] + (real[skip] - rounded[skip])

    def _skip(self, step: Step) -> str | None:
        """What alone is added to a step's output, if both networks have come to it."""
        output = step.output
        if step.total != output or output.is_shared or len(output.consumers) != 1:
            return None
        (reader,) = output.consumers
        others = [value for value in reader.inputs if value is not None and value != output]
        if reader.op != "Add" or len(others) != 1 or others[0].shape != output.shape:
            return None
        return others[0].name if others[0].name in self._networks else None

    def _round(self, step: Step, halves: tuple[Moments, Moments], changes: Changes) -> None:
        """Decide a layer's weight, scales and bias."""
        module, node = self._module, step.leader
        weight, bias = weight_value(node), bias_value(node)
        moments = halves[0] + halves[1]
        target = rows_of(node)
        if self._options.resolve:
            target, _ = resolve(target, halves)
        found = fit(
            target,
            moments.gram,
            module.plan[weight.name],
            solver=self._options.solver,
            damping=self._options.damping,
            power_of_two=self._power_of_two,
        )
        if self._options.price > 0:
            found = spared(target, moments.gram, found, self._options.price, self._options.damping)
        chosen, rounded = found.format, found.rounded
        if self._options.retune and chosen.is_per_channel and not self._power_of_two:
            gain = _retuning(moments, rounded)
            chosen = replace(chosen, scale=tuple(np.array(chosen.scale) * gain.ravel()))
            rounded = rounded * gain[:, :, None]
        module.plan = module.plan.with_formats({weight.name: chosen})
        put_rows(node, rounded)
        if bias is not None or node.op != "MatMul":
            means = moments.outputs - np.einsum("grk,gk->gr", rounded, moments.inputs)
            shape = (means.size,) if bias is None or bias.constant is None else bias.constant.shape
            corrected = means.reshape(shape).astype(np.float32)
            if bias is None:
                node.set_constant(2, "bias", corrected)
            else:
                bias.constant = corrected
        changes.change(node)

    def _enter(self, value: Value) -> None:
        """Quantize an input, over the range from which the layers that read it can restore most."""
        readers = [node for node in value.consumers if node.op in LINEAR and node.operand(0) == value]
        if self._is_open(value) and readers:
            few = list(_few((batch[value.name] for batch in self._networks.real(value.name)), value))
            old = self._module.plan[value.name]
            self._decide(value, least(residual(self._float, readers, few), few, old))
        self._networks.enter(value, self._module.plan)

    def _finish(self, step: Step) -> None:
        """Run a step of the quantized network, and choose the range of what it makes if that is still open."""
        networks, value = self._networks, step.output
        made = networks.run_unrounded(self._module.graph, step)
        if self._is_open(value):
            stride = _stride(networks.samples, value)
            kept = networks.held(made)
            ours = [_thinned(batch, stride) for batch in kept]
            theirs = [_thinned(batch[value.name], stride) for batch in networks.real(value.name)]
            old = self._module.plan[value.name]
            self._decide(value, least(squared(ours, theirs), ours, old))
            networks.put(value, kept, self._module.plan)
            kept.close()
        else:
            networks.put(value, made, self._module.plan)

    def _is_open(self, value: Value) -> bool:
        """Whether the range of a value is still to be chosen here."""
        narrow = self._module.plan[value.name].type.bits <= NARROW
        return self._options.ranges and narrow and value.name not in self._fixed

    @property
    def _power_of_two(self) -> bool:
        return self._options.scales == "power-of-two"

    def _decide(self, value: Value, chosen: Format) -> None:
        if self._power_of_two:
            chosen = to_power_of_two(chosen)
        group = self._groups[value.name]
        self._fixed.update(one.name for one in group)
        self._module.plan = self._module.plan.with_formats({one.name: chosen for one in group})

    def _require_formats(self) -> None:
        for node in self._module.graph.nodes(*LINEAR):
            for name in (weight_value(node).name, node.operand(0).name):
                if name not in self._module.plan:
                    raise PipelineError(
                        f"{name} has no format yet",
                        where=node.where,
                        fix="Put quantize-weights and quantize-activations before reconstruct.",
                    )


def _retuning(moments: Moments, rounded: Reals) -> Reals:
    """By how much each channel's outputs fall short of their wanted standard deviation: (groups, rows)."""
    variance = np.einsum("grk,grk->gr", rounded @ moments.gram, rounded)
    gain = np.sqrt(moments.variance / np.where(variance > 0, variance, np.inf))
    return np.asarray(np.where(gain > 0, np.clip(gain, 1 / MOST_GAIN, MOST_GAIN), 1.0))


def _add(
    moments: StreamingMoments, node: Node, inputs: FloatArray, target: FloatArray, weights: FloatArray | None
) -> None:
    at_once = max(1, PART // patch_bytes(node))
    for start in range(0, len(inputs), at_once):
        part = slice(start, start + at_once)
        kept = None if weights is None else weights[part].ravel()
        moments.add(patches(node, inputs[part]), outputs_by_group(node, target[part]), kept)


def _few(batches: Iterable[FloatArray], value: Value) -> Iterator[FloatArray]:
    """The first batches, as many as a range is chosen on by regressions."""
    left = max(1, TRIAL_INPUTS // math.prod(value.sample_shape))
    for batch in batches:
        if left > 0:
            yield batch[:left]
        left -= len(batch)


def _stride(samples: int, value: Value) -> int:
    """Of how many positions one is looked at where a range is chosen.

    Without a divisor in common with any side of the space: else it would look at some of the columns alone, the first
    of which, beside the padding, is like no other.
    """
    stride = max(1, samples * math.prod(value.sample_shape) // TRIAL_ELEMENTS)
    while any(math.gcd(stride, size) > 1 for size in value.sample_shape[1:]):
        stride += 1
    return stride


def _thinned(batch: FloatArray, stride: int) -> FloatArray:
    """Some positions of (n, channels, ...), as (n, channels, positions)."""
    channels = batch.shape[1] if batch.ndim > 1 else 1
    return np.ascontiguousarray(batch.reshape(len(batch), channels, -1)[:, :, ::stride])
