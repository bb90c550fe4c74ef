"""The scales that give all weights of a channel, and its activations, the same share of their tensors' ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from networkx.utils import UnionFind

from bitsmith.ir.graph import Node
from bitsmith.passes.equalize.channels import ChannelGroups, Indices

Vector = npt.NDArray[np.float64]

SETTLED = 1e-5
LARGEST = 1e4
"""No channel is scaled further than this, up or down, over all rounds."""

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """What equalization needs of a linear op's weight.

    largest: float64 (convolution groups, outputs, inputs of each): the largest |weight| over the kernel.
    makes:   the channel group of each output, (convolution groups, outputs of each). reads: that of each input.
    """

    largest: Vector
    makes: Indices
    reads: Indices

    def scaled(self, scale: Vector) -> Vector:
        """`largest` of the weights that these scales leave."""
        scaled: Vector = self.largest * scale[self.reads][:, None, :] / scale[self.makes][:, :, None]
        return scaled


def magnitudes(node: Node, makes: Indices, reads: Indices) -> Magnitudes:
    """Of a linear op in its canonical form, (outputs, inputs / groups, *kernel)."""
    weight = node.operand(1).array
    largest = np.abs(weight).reshape(*weight.shape[:2], -1).max(axis=2).astype(np.float64)
    apart = len(reads) // weight.shape[1]
    return Magnitudes(largest.reshape(apart, -1, weight.shape[1]), makes.reshape(apart, -1), reads.reshape(apart, -1))


def equalizing_scales(groups: ChannelGroups, activations: Vector, iterations: int) -> Vector:
    """The scale of each channel group, float64 (groups,): its activations, and what makes them, are divided by it.

    activations: float64 (groups,), how much of its tensor's range a group's activations take, at most 1; zero where
                 nothing is known of them or they are not to count.

    Groups that one linear op makes or reads are balanced at once, and one such bundle after the other, until every
    scale is within 1e-5 of settled, or `iterations` times.
    """
    linear = [magnitudes(one.node, one.makes, one.reads) for one in groups.linear]
    scale, is_free = np.ones(groups.count), groups.is_free
    bundles = [bundle for bundle in _bundles(groups.count, linear) if is_free[bundle.members].any()]
    for _ in range(iterations):
        settled = True
        for bundle in bundles:
            step = np.where(is_free, bundle.step(scale, activations), 1.0)
            after = np.clip(scale * step, 1 / LARGEST, LARGEST)
            settled &= bool(np.all(np.abs(after / scale - 1) < SETTLED))
            scale = after
        if settled:
            break
    return scale


@dataclass(frozen=True, eq=False)
class Bundle:
    """Channel groups that are balanced at once, and the weights that make and that read them."""

    members: Indices
    makers: list[Magnitudes]
    readers: list[Magnitudes]

    def step(self, scale: Vector, activations: Vector) -> Vector:
        """By what each group's scale is to be multiplied; 1 for groups outside, and for those that are dead.

        Where one op is maker and reader, each of its entries is moved from two sides, so the steps are halved, as in
        balancing a matrix by its own rows and columns.
        """
        made, read = np.zeros_like(scale), np.zeros_like(scale)
        for maker in self.makers:
            ranges = maker.scaled(scale).max(axis=2)
            np.maximum.at(made, maker.makes, ranges / max(ranges.max(), TINY))
        for reader in self.readers:
            ranges = reader.scaled(scale).max(axis=1)
            np.maximum.at(read, reader.reads, ranges / max(ranges.max(), TINY))
        alive = (made > 0) & (read > 0)
        divided = np.maximum(made, activations / scale)
        moved_twice = any(maker is reader for maker in self.makers for reader in self.readers)
        ratio = np.where(alive, divided, 1.0) / np.where(alive, read, 1.0)
        return np.asarray(ratio ** (0.25 if moved_twice else 0.5), np.float64)


def _bundles(count: int, linear: list[Magnitudes]) -> list[Bundle]:
    union = UnionFind(range(count))
    for one in linear:
        union.union(*one.makes.ravel().tolist())
        union.union(*one.reads.ravel().tolist())
    makers: dict[int, list[Magnitudes]] = {}
    readers: dict[int, list[Magnitudes]] = {}
    for one in linear:
        makers.setdefault(union[int(one.makes.flat[0])], []).append(one)
        readers.setdefault(union[int(one.reads.flat[0])], []).append(one)
    members: dict[int, list[int]] = {}
    for group in range(count):
        members.setdefault(union[group], []).append(group)
    return [Bundle(np.array(groups), makers.get(root, []), readers.get(root, [])) for root, groups in members.items()]
