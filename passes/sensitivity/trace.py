"""Second order: traces of the Fisher information, by forward runs alone, times squared perturbations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitsmith.execution.network import Network
from bitsmith.passes.sensitivity.felt import Felt
from bitsmith.passes.sensitivity.study import ActivationPart, FloatArray, Study, Table, WeightPart, on_grid

PROBES = 8

MOVED = 1e-3
"""Nats that a probe is to move the outputs by: few enough that the divergence is a parabola, and enough that float32
feels it."""

FIRST_STEP = 0.01
"""Of the root mean square, with which the length of steps is looked for."""

TRIES = 4

Move = Callable[[FloatArray], float]
"""How far the outputs move, in nats, when this is added."""


def fisher_trace(moved: Move, like: FloatArray, random: np.random.Generator, probes: int = PROBES) -> float:
    """tr F of what is shaped as `like`, F being the Fisher information, the Hessian of the divergence in its minimum.

    There the gradient is 0, so KL(x || x + e z) = e^2/2 z^T F z + O(e^3), and E z^T F z = tr F where the z_i are
    independent signs (Hutchinson 1990, doi:10.1080/03610919008812866). Steps both ways cancel the odd powers of e.
    It is the Hessian of the loss, too, where the model gives the probabilities that the labels have (Dong et al. 2020,
    arXiv:1911.03852, section 3.2, take that Hessian, by products with a vector from two gradients).
    """
    step = FIRST_STEP * math.sqrt(float(np.mean(np.square(like)))) or FIRST_STEP
    for _ in range(TRIES):
        found = moved(_signs(like, random) * np.float32(step))
        step *= math.sqrt(MOVED / found) if found > MOVED * 1e-4 else 100.0
        if MOVED / 4 < found < MOVED * 4:
            break
    total = 0.0
    for _ in range(probes):
        change = _signs(like, random) * np.float32(step)
        total += (moved(change) + moved(-change)) / 2
    return 2 * total / probes / step**2


def second_order(study: Study) -> tuple[Table, Table]:
    """Half the mean of F's diagonal times the squared perturbation by rounding to the nearest: weights, activations.

    HAWQ-V2 (arXiv:1911.03852, equation 11, up to the factor 1/2). For activations F is that of each sample.
    """
    random = np.random.default_rng(study.seed)
    weights: Table = {part.name: dict.fromkeys(part.formats, 0.0) for part in study.weights}
    activations: Table = {part.name: dict.fromkeys(part.formats, 0.0) for part in study.activations}
    total = len(study.data) * (len(weights) + len(activations))
    seen = 0
    for network in study.networks():
        felt = Felt(network, study.divergence)
        for weight in study.weights:
            study.progress("second-order sensitivity", seen, total)
            seen += network.samples
            _add(weights[weight.name], _of_weight(weight, felt, random), study.share(network))
        for activation in study.activations:
            study.progress("second-order sensitivity", seen, total)
            seen += network.samples
            _add(activations[activation.name], _of_activation(activation, felt, network, random), study.share(network))
        del felt, network
    return weights, activations


def _add(losses: dict[float, float], more: dict[float, float], share: float) -> None:
    for bits, loss in more.items():
        losses[bits] += share * loss


def _of_weight(part: WeightPart, felt: Felt, random: np.random.Generator) -> dict[float, float]:
    array = part.array
    curvature = fisher_trace(lambda change: felt.constants(part.layer, {part.name: array + change}), array, random)
    return {
        bits: curvature / 2 * float(np.mean(np.square(on_grid(array, chosen) - array)))
        for bits, chosen in part.formats.items()
    }


def _of_activation(
    part: ActivationPart, felt: Felt, network: Network, random: np.random.Generator
) -> dict[float, float]:
    """Of each activation in the group by itself, summed."""
    losses = dict.fromkeys(part.formats, 0.0)
    for name in part.computed:
        array = network.activations[name]

        def moved(change: FloatArray, name: str = name, array: FloatArray = array) -> float:
            return felt.activations({name: array + change})

        curvature = fisher_trace(moved, array, random)
        for bits, chosen in part.formats.items():
            losses[bits] += curvature / 2 * float(np.mean(np.square(on_grid(array, chosen) - array)))
    return losses


def _signs(like: FloatArray, random: np.random.Generator) -> FloatArray:
    bits = random.integers(0, 2, like.shape, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)
