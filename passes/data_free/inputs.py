"""What a model's inputs must look like, as its first batch normalisation saw them; and noise that looks so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.moments import InputMoments, Vector

TOWARDS_ONE_MEAN = 0.1
"""Weight, beside the data's, of all channels having one mean: a first layer tells their sum well, their parts badly."""

QUARTER = 0.25
"""Standard deviation of an input of known range, as part of that range."""


def standardised(value: Value, bounds: tuple[float, float] | None) -> InputMoments:
    """What an input is taken to be where nothing in the model tells: mean 0 and variance 1, or a part of its range."""
    channels = value.sample_shape[0] if value.sample_shape else 1
    lowest, highest = bounds or (-math.inf, math.inf)
    mean, variance = 0.0, 1.0
    if bounds is not None:
        mean, variance = (lowest + highest) / 2, (QUARTER * (highest - lowest)) ** 2
    spatial = len(value.sample_shape) > 1
    parts = (0.0, variance / 2, variance / 2) if spatial else (variance, 0.0, 0.0)
    return InputMoments(np.full(channels, mean), *parts, lowest, highest)


def inferred(value: Value, bounds: tuple[float, float] | None) -> InputMoments | None:
    """The moments of a graph input that a BatchNormalization behind a linear layer, or at once, implies; None if none.

    With mu and v the running mean and variance behind y = W x + b, and K the weights summed over a kernel, the
    mean of x is the damped least-squares solution of K m + b = mu. Its variance is that part u of white noise, w
    of slow noise per channel and z of slow noise in all channels, none negative, that explains v best:

        v = u sum(W^2) + w sum_c(K_c^2) + z (sum_c K_c)^2.
    """
    for node in value.consumers:
        norm = node if node.op == "BatchNormalization" else _norm_behind(node)
        if norm is None:
            continue
        mean, variance = (np.asarray(norm.constant(index), np.float64) for index in (3, 4))
        lowest, highest = bounds or (-math.inf, math.inf)
        if norm == node:
            spread = float(variance.mean())
            return InputMoments(mean, 0.0, spread / 2, spread / 2, lowest, highest, inferred=True)
        solved = _solve(node, mean, variance)
        if solved is not None:
            return InputMoments(*solved, lowest, highest, inferred=True)
    return None


def noise(shape: tuple[int, ...], moments: InputMoments, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Samples (n, channels, ...) of an input of these moments.

    What varies slowly has amplitudes of 1/f over space, as natural images do (Field 1987, "Relations between the
    statistics of natural images and the response properties of cortical cells").
    """
    samples = np.sqrt(moments.white) * random.normal(size=shape)
    samples += math.sqrt(moments.own) * _slow(shape, random)
    samples += math.sqrt(moments.shared) * _slow((shape[0], 1, *shape[2:]), random)
    samples += moments.mean.reshape(1, -1, *[1] * (len(shape) - 2))
    return np.asarray(np.clip(samples, moments.lowest, moments.highest), np.float32)


def _slow(shape: tuple[int, ...], random: np.random.Generator) -> Vector:
    space = shape[2:]
    white = random.normal(size=shape)
    if not space:
        return white
    axes = tuple(range(2, len(shape)))
    squares = np.zeros(space)
    for axis, size in enumerate(space):
        frequency = np.fft.fftfreq(size) * size
        squares = squares + (frequency**2).reshape(-1, *[1] * (len(space) - 1 - axis))
    amplitude = 1 / np.sqrt(np.maximum(squares, 1.0))
    slow = np.fft.ifftn(np.fft.fftn(white, axes=axes) * amplitude, axes=axes).real
    return np.asarray(slow / math.sqrt(float((amplitude**2).mean())))


def _norm_behind(node: Node) -> Node | None:
    if node.op not in ("Conv", "Gemm") or node.constant(1) is None:
        return None
    norms = [one for one in node.output.consumers if one.op == "BatchNormalization"]
    return next((one for one in norms if one.constant(3) is not None and one.constant(4) is not None), None)


def _solve(linear: Node, mean: Vector, variance: Vector) -> tuple[Vector, float, float, float] | None:
    weight = linear.array(1)
    if linear.op == "Gemm" and not linear.attribute("transB", 0):
        weight = weight.T
    if linear.op == "Conv" and linear.attribute("group", 1) != 1:
        return None
    parts = weight.astype(np.float64).reshape(len(weight), weight.shape[1], -1)
    held = linear.constant(2)
    bias = np.zeros(len(parts)) if held is None else np.asarray(held, np.float64).reshape(-1)
    alive = variance > 1e-6 * variance.max()
    if bias.shape != mean.shape or not alive.any():
        return None
    parts, bias, mean, variance = parts[alive], bias[alive], mean[alive], variance[alive]
    summed = parts.sum(axis=2)
    features = np.stack([(parts**2).sum(axis=(1, 2)), (summed**2).sum(axis=1), summed.sum(axis=1) ** 2], axis=1)
    u, w, z = _not_negative(features / variance[:, None])
    return (_mean(summed, (mean - bias), np.sqrt(variance)), u, w, z)


def _mean(summed: Vector, wanted: Vector, deviation: Vector) -> Vector:
    """m that minimises |(K m - wanted) / deviation|^2 + damping |m - its mean|^2."""
    rows, target = summed / deviation[:, None], wanted / deviation
    channels = summed.shape[1]
    damping = math.sqrt(TOWARDS_ONE_MEAN * float((rows**2).sum()) / channels)
    apart = damping * (np.eye(channels) - 1 / channels)
    solution = np.linalg.lstsq(np.concatenate([rows, apart]), np.concatenate([target, np.zeros(channels)]), rcond=None)
    return np.asarray(solution[0])


def _not_negative(features: Vector) -> tuple[float, float, float]:
    """The least-squares solution of `features` @ s = 1 (n, 3) with no part of s negative, by trying all subsets."""
    ones, best, least = np.ones(len(features)), np.zeros(3), math.inf
    for count in (1, 2, 3):
        for subset in itertools.combinations(range(3), count):
            columns = list(subset)
            solution = np.linalg.lstsq(features[:, columns], ones, rcond=None)[0]
            error = float(((features[:, columns] @ solution - ones) ** 2).sum())
            if np.all(solution >= 0) and error < least:
                best, least = np.zeros(3), error
                best[columns] = solution
    return float(best[0]), float(best[1]), float(best[2])


def input_moments(graph: Graph, bounds: Mapping[str, tuple[float, float]]) -> dict[str, InputMoments]:
    """What every input of a graph, its normalisations not folded yet, is taken to be."""
    return {
        value.name: inferred(value, bounds.get(value.name)) or standardised(value, bounds.get(value.name))
        for value in graph.inputs
    }


def reason_for(name: str, moments: InputMoments) -> str:
    """A line on what an input is taken to be, why, and what to do if it is not so."""
    mean = f"input {name} is taken to have mean {moments.mean.mean():.3g} and deviation {moments.variance**0.5:.3g}"
    if moments.inferred:
        return f"{mean}, as the first batch normalisation saw it"
    if math.isfinite(moments.lowest):
        return f"{mean}, from its range"
    return f"{mean}: nothing in the model tells; give --input-range {name}=LOW,HIGH if it is not so"
