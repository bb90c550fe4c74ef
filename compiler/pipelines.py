"""Pipelines: which passes run, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NORMALISE = ",".join(
    (
        # Shape arithmetic goes first: what it computed decides whether the rest is constant.
        "fold-constants",
        "lower-reshapes",
        "canonicalize-slices",
        "canonicalize-pads",
        "canonicalize-resizes",
        "recognize-layer-norm",
        "lower-reductions",
        "explicit-padding",
        "sink-softmax",
        "remove-no-ops",
        "canonicalize-gemm",
        "recognize-activations",
        "gather-factors",
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

ADOPT = ",".join(
    (
        # Without what makes layers of scaling that stands alone: it has no weights that were quantized. What is folded
        # keeps a layer's integers and changes its scales, of a layer whose result is rounded behind it alone.
        *(one for one in NORMALISE.split(",")[: NORMALISE.split(",").index("lower-affine")] if one != "fold-padding"),
        "remove-no-ops",
        "canonicalize-gemm",
        "adopt-quantizers",
        "fold-padding",
        "integerize",
    )
)
"""What a compile runs on a graph that others quantized, whose quantizers part what must not be merged."""

EFFORTS = ("fast", "default", "best")
"""How much time goes into accuracy: a second or two; some seconds; as long as it pays."""

SOLVERS = {"default": "polished", "best": "thorough"}
"""Of learned rounding, by effort."""

WIDE = 8
"""Bits from which on rounding to the nearest ties with learned rounding, on every model that was measured."""


def rest(legal: Sequence[int]) -> int:
    """The bits of what no allocation names: 8 where the target has them."""
    return WIDE if WIDE in legal else legal[0]


@dataclass(frozen=True)
class Mixed:
    """Which bits are chosen one by one, within which limits (allocation/budgets.py), at the cost of how many points."""

    weights: bool
    activations: bool
    limits: Mapping[str, float]
    max_loss: float | None


@dataclass(frozen=True)
class Choice:
    """What the default pipeline is made of, every choice settled.

    weights: options of quantize-weights that say bits and format; weight_bits: these bits.
    narrowest_weight, narrowest_activation: the fewest bits that any will have, or may.
    granularity: channel, tensor or group=N. observer: auto, or one by name; None to let the effort choose.
    correct: whether biases are corrected at any width. learn: whether there are data to learn from. mixed: what is not
    settled yet. measure: whether what bits cost the outputs must be measured for that.
    """

    effort: str
    weights: str
    weight_bits: int
    narrowest_weight: int
    narrowest_activation: int
    granularity: str
    scales: str
    activations: int
    edges: int
    symmetric: bool
    observer: str | None
    correct: bool
    learn: bool
    mixed: Mixed
    measure: bool


def default(choice: Choice) -> str:
    """The pipeline that a compile runs unless it is given one of its own.

    Where weights share one scale, or activations have fewer than 8 bits, layers are equalized first: channels that
    stand out would leave the others few steps of the grid that all share. Once data have shown the ranges, channels
    that are the same for every input leave, before a bit is spent on them. Where weights or activations have fewer than
    8 bits, where there are no data, and where it is asked for, biases are corrected at least; below 8 bits learned
    rounding takes the place of rounding to the nearest, unless it is to be fast or there are no data. Bits that are to
    be chosen are, before what they are for is quantized, and after what is settled was.
    """
    kind, _, size = choice.granularity.partition("=")
    spread = f"granularity=channel,group={size}" if kind == "group" else f"granularity={kind}"
    mixed = choice.mixed
    is_mixed = mixed.weights or mixed.activations
    is_narrow = min(choice.narrowest_weight, choice.narrowest_activation) < WIDE
    learns = is_narrow and choice.learn and choice.effort in SOLVERS
    observer = choice.observer or ("mse" if is_narrow else "auto")
    scales = "" if choice.scales == "free" else f",scales={choice.scales}"
    symmetric = str(choice.symmetric).lower()
    rounding = f"reconstruct{{solver={SOLVERS[choice.effort]}{scales}}}" if learns else "correct-biases"
    weights = f"quantize-weights{{{choice.weights},{spread}{scales}}}"
    activations = (
        f"quantize-activations{{bits={choice.activations},edges={choice.edges},observer={observer},"
        f"symmetric={symmetric}{scales}}}"
    )
    return ",".join(
        [
            NORMALISE,
            *(["equalize"] if kind == "tensor" or choice.narrowest_activation < WIDE else []),
            "calibrate",
            *(["drop-dead-channels"] if choice.learn else []),
            *([] if mixed.weights else [weights]),
            *([] if mixed.activations else [activations]),
            *([_measure(choice, kind, learns)] if is_mixed and choice.measure else []),
            *([_allocate(mixed, spread, choice.edges)] if is_mixed else []),
            *([weights] if mixed.weights else []),
            *([activations] if mixed.activations else []),
            *([rounding] if is_narrow or choice.correct or not choice.learn else []),
            *(["quantize-softmax"] if choice.narrowest_activation < WIDE and choice.learn else []),
            "quantize-biases",
            "integerize",
        ]
    )


def _measure(choice: Choice, kind: str, learns: bool) -> str:
    """measure-sensitivity by the rounding that follows; of what is settled already, at the bits that it has."""
    options = [
        *([] if learns else ["method=direct"]),
        *(["granularity=tensor"] if kind == "tensor" else []),
        *([] if choice.mixed.weights else [f"weights={choice.weight_bits}"]),
        *([] if choice.mixed.activations else [f"activations={choice.activations}"]),
    ]
    return "measure-sensitivity" + (f"{{{','.join(options)}}}" if options else "")


def _allocate(mixed: Mixed, spread: str, edges: int) -> str:
    """allocate-bits with its options."""
    limits = [f"{name.replace('-', '_')}={number(value)}" for name, value in mixed.limits.items()]
    loss = [] if mixed.max_loss is None else [f"max_loss={mixed.max_loss}"]
    return f"allocate-bits{{{','.join([*limits, *loss, spread, *([f'edges={edges}'] if edges else [])])}}}"


def number(value: float) -> str:
    """A limit as text that reads back as the same number."""
    return str(int(value)) if value == int(value) else repr(value)
