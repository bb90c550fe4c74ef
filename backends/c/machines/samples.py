"""Small networks with every kind of operation, at every width: what is built to know what code takes.

Shapes are those of networks for small machines, and some that no vector fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from bitsmith.backends.c.machines.network import Network, Widths
from bitsmith.ir.integer import Concat, IntegerGraph, Pad, Reshape, Resize, Shape, Slice, Transpose
from bitsmith.target import Target


def residual(made: Network) -> None:
    """Convolutions of 3x3 and 1x1, and a sum, as in ResNet."""
    made.conv(16, 3, pad=1)
    made.conv(16, 3, pad=1)
    left = made.last
    made.conv(32, 3, stride=2, pad=1)
    right = made.conv(32, 3, pad=1)
    made.last = left
    made.conv(32, 1, stride=2)
    made.add(right)
    made.average()
    made.move(Reshape, shape=(32,))
    made.linear(10)


def separable(made: Network) -> None:
    """Depthwise and pointwise convolutions, some of channels that fill no vector."""
    made.conv(24, (10, 4), stride=2, pad=1)
    for outputs, stride in ((24, 1), (32, 2), (30, 1)):
        made.conv(made.shape()[0], 3, stride=stride, pad=1, groups=0)
        made.conv(outputs, 1)
    made.average(2, 2)
    made.conv(made.shape()[0], 3, pad=1, groups=0)
    made.conv(13, 1)
    made.average()
    made.move(Reshape, shape=(13,))
    made.linear(12)


def inverted(made: Network) -> None:
    """Wide layers between narrow ones, as in MobileNetV2."""
    made.conv(8, 3, stride=2, pad=1)
    kept = made.last
    made.conv(48, 1)
    made.conv(48, 3, pad=1, groups=0)
    made.conv(8, 1)
    made.add(kept)
    made.conv(40, 1)
    made.conv(40, 5, stride=2, pad=2, groups=0)
    made.conv(17, 1)
    made.average()
    made.move(Reshape, shape=(17,))
    made.linear(7)


def large(made: Network) -> None:
    """The same, of images for which offsets are large numbers."""
    made.conv(32, 3, stride=2, pad=1)
    made.conv(32, 3, pad=1, groups=0)
    made.conv(16, 1)
    for outputs, stride in ((24, 2), (24, 1), (40, 2), (40, 1)):
        kept = made.last
        made.conv(6 * made.shape()[0], 1)
        made.conv(made.shape()[0], 3, stride=stride, pad=1, groups=0)
        made.conv(outputs, 1)
        if stride == 1:
            made.add(kept)
    made.average()
    made.move(Reshape, shape=(40,))
    made.linear(100)


def dense(made: Network) -> None:
    """Linear layers as in autoencoders."""
    for outputs in (64, 128, 128, 8, 128, 100):
        made.linear(outputs)


def small(made: Network) -> None:
    """Linear layers of sizes that fill no vector."""
    for outputs in (33, 18, 10, 6, 1):
        made.linear(outputs)


def plain(made: Network) -> None:
    """No padding, dilation, groups, and pools."""
    made.conv(6, 5)
    made.maximum(2, 2)
    made.conv(7, 3, dilation=2, pad=1)
    made.conv(14, 3, groups=7)
    made.maximum(3, 2, pad=1)
    made.move(Reshape, shape=(math.prod(made.shape()),))
    made.linear(20)
    made.linear(10)


def sequence(made: Network) -> None:
    """One axis of time."""
    made.conv(16, 5, pad=2)
    made.conv(16, 3, groups=0, pad=1)
    made.conv(12, 1)
    made.maximum(2, 2)
    made.conv(20, 3, stride=2)
    made.average()
    made.move(Reshape, shape=(20,))
    made.linear(6)


def attention(made: Network) -> None:
    """A transformer's block."""
    kept = made.last
    made.layer_norm()
    if made.is_wide:
        # Sums of products of two values of 16 bits do not fit.
        made.softmax()
        made.table()
        made.linear(16)
        return
    whole = made.last
    queries = made.linear(16)
    made.last = whole
    made.linear(16)
    keys = made.move(Transpose, (1, 0))
    made.last = whole
    values = made.linear(16)
    made.last = queries
    made.matmul(keys)
    made.softmax()
    made.matmul(values)
    made.linear(24)
    made.add(kept)
    made.table()
    made.mul(kept)


def moves(made: Network) -> None:
    """What only moves elements, and tables."""
    first = made.table(made.shape()[0])
    made.move(Pad, (0, 0, 0, 0, 0, 0), 0)
    made.move(Concat, 0, others=[first])
    channels, height, width = made.shape()
    made.move(Pad, (0, 1, 1, 0, 1, 1), 3)
    made.move(Slice, (0, 1, 2), (1, 2, 1), shape=(channels, height // 2, width - 2))
    channels, height, width = made.shape()
    doubled = [tuple(i // 2 for i in range(2 * size)) for size in (height, width)]
    made.move(Resize, (tuple(range(channels)), *doubled))
    made.move(Transpose, (1, 2, 0))


NETWORKS: Mapping[str, tuple[Shape, Callable[[Network], None]]] = {
    "residual": ((3, 16, 16), residual),
    "separable": ((1, 25, 10), separable),
    "inverted": ((3, 24, 24), inverted),
    "large": ((3, 96, 96), large),
    "dense": ((320,), dense),
    "small": ((49,), small),
    "plain": ((1, 20, 20), plain),
    "sequence": ((9, 40), sequence),
    "attention": ((12, 24), attention),
    "moves": ((5, 6, 6), moves),
}


def widths_of(graph: IntegerGraph) -> str:
    """Of a sample's values, such as 4x8."""
    return graph.name.partition(" ")[2]


def networks(target: Target) -> Iterator[IntegerGraph]:
    """Every network at every width that kernels of a target are made for."""
    weights: list[int | str] = [bits for bits in (8, 4, 2) if bits in target.weight_bits]
    weights += [kind for kind in ("ternary", "codebook") if kind in target.weight_formats]
    activations = sorted({next(one for one in (8, 16) if bits <= one) for bits in target.activation_bits})
    for name, (shape, make) in NETWORKS.items():
        for bits in activations:
            for weight in weights if name != "moves" else weights[:1]:
                made = Network(f"{name} {weight}x{bits}", Widths(weight, bits), shape)
                make(made)
                yield made.graph()
