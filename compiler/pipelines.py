"""Pipelines: which passes run, in which order."""

from __future__ import annotations

from dataclasses import dataclass

NORMALISE = ",".join(
    (
        # Shape arithmetic goes first: what it computed decides whether the rest is constant.
        "fold-constants",
        "lower-reshapes",
        "canonicalize-slices",
        "canonicalize-pads",
        "canonicalize-resizes",
        "lower-means",
        "explicit-padding",
        "sink-softmax",
        "remove-no-ops",
        "canonicalize-gemm",
        "recognize-activations",
        "fold-padding",
        "fold-batch-norm",
        "fold-affine",
        # What could not be folded; a Conv that this makes may take up its neighbours in turn.
        "lower-affine",
        "fold-affine",
        "remove-no-ops",
        "canonicalize-gemm",
    )
)
"""Bring a loaded graph to the ops of ir/legal.py."""

EFFORTS = ("fast", "default", "best")
"""How much time goes into accuracy: a second or two; some seconds; as long as it pays."""

SOLVERS = {"default": "polished", "best": "thorough"}
"""Of learned rounding, by effort."""

WIDE = 8
"""Bits from which on rounding to the nearest ties with learned rounding, on every model that was measured."""


@dataclass(frozen=True)
class Choice:
    """What the default pipeline is made of, every choice settled.

    weights: options of quantize-weights that say bits and format. weight_bits: what a weight takes.
    granularity: channel, tensor or group=N. observer: auto, or one by name; None to let the effort choose.
    learn: whether there are data to learn from.
    """

    effort: str
    weights: str
    weight_bits: int
    granularity: str
    scales: str
    activations: int
    edges: int
    symmetric: bool
    observer: str | None
    learn: bool


def default(choice: Choice) -> str:
    """The pipeline that a compile runs unless it is given one of its own.

    Where weights share one scale, layers are equalized first. Where weights or activations have fewer than 8 bits,
    biases are corrected at least, and learned rounding takes the place of rounding to the nearest unless it is to be
    fast.
    """
    kind, _, size = choice.granularity.partition("=")
    spread = f"granularity=channel,group={size}" if kind == "group" else f"granularity={kind}"
    is_narrow = min(choice.weight_bits, choice.activations) < WIDE
    learns = is_narrow and choice.learn and choice.effort in SOLVERS
    observer = choice.observer or ("mse" if is_narrow else "auto")
    scales = "" if choice.scales == "free" else f",scales={choice.scales}"
    symmetric = str(choice.symmetric).lower()
    rounding = f"reconstruct{{solver={SOLVERS[choice.effort]}{scales}}}" if learns else "correct-biases"
    return ",".join(
        [
            NORMALISE,
            *(["equalize"] if kind == "tensor" else []),
            "calibrate",
            f"quantize-weights{{{choice.weights},{spread}{scales}}}",
            f"quantize-activations{{bits={choice.activations},edges={choice.edges},observer={observer},"
            f"symmetric={symmetric}{scales}}}",
            *([rounding] if is_narrow else []),
            "quantize-biases",
            "integerize",
        ]
    )
