"""How much each position of a sample counts, so that a few that stand out do not decide what a layer learns."""

from __future__ import annotations

import numpy as np

from bitsmith.ir.graph import Node
from bitsmith.passes.reconstruct.moments import FloatArray

MOST = 4.0
"""Of a sample's usual power, what one position of it may have and still count in full."""

ROUNDS = 8
"""Of finding what is usual: each brings it closer by a factor that is the part of positions that stand out, `MOST`
times, so it has settled where they are few, and nothing stands out where they are not."""

TINY = float(np.finfo(np.float32).tiny)


def position_weights(node: Node, wanted: FloatArray) -> FloatArray:
    """1 for a position whose power is at most `MOST` times what is usual in its sample; in proportion less for louder.

    What is usual is the mean m of all powers p with the loud ones cut off at that limit, m = mean(min(p, MOST m)): the
    idea of Huber's joint estimate of scale (1964, Annals of Mathematical Statistics 35, proposal 2). So however loud
    it is, no position puts more into second moments than `MOST` usual ones, and none is held back where a quarter of
    them or more is as loud.

    Some networks make huge values at few positions of few samples (Sun et al. 2024, arXiv:2402.17762, of transformers;
    in MobileNetV2 it is corners of images). By squares they outweigh all others together, though a narrow range clips
    them and often a Relu drops them: least squares would fit them alone, at a loss everywhere else. A power is about
    the sample's own mean, by channel; a sample of one position counts in full.

    wanted: what the linear `node` should give, (n, channels, *space) of a Conv, else (n, ..., features).
    Returns (n, positions), in the order of `patches`.
    """
    samples = len(wanted)
    if node.op == "Conv":
        apart = wanted.reshape(samples, wanted.shape[1], -1).transpose(0, 2, 1)
    else:
        apart = wanted.reshape(samples, -1, wanted.shape[-1])
    centred = apart - apart.mean(axis=1, keepdims=True)
    power = np.einsum("npc,npc->np", centred, centred)
    usual = power.mean(axis=1, keepdims=True)
    for _ in range(ROUNDS):
        usual = np.minimum(power, MOST * usual).mean(axis=1, keepdims=True)
    weights: FloatArray = np.minimum(1.0, np.maximum(MOST * usual, TINY) / np.maximum(power, TINY)).astype(np.float32)
    return weights
