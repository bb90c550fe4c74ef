"""Options that several commands take, and how their texts are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from bitsmith.registry import did_you_mean

if TYPE_CHECKING:
    from bitsmith.ir.allocation import Allocation
    from bitsmith.ir.sensitivity import Sensitivity
    from bitsmith.recipe import Recipe

Given = TypeVar("Given")
Read = TypeVar("Read")


def add_target(command: argparse.ArgumentParser) -> None:
    """--target."""
    command.add_argument(
        "--target", required=True, metavar="NAME|FILE.toml", help="an installed target (`bitsmith targets`), or a file"
    )


def add_input_shape(command: argparse._ActionsContainer) -> None:
    """--input-shape."""
    command.add_argument(
        "--input-shape",
        action="append",
        default=[],
        type=input_shape,
        metavar="NAME=1,3,32,32",
        help="the shape of an input whose dimensions the model leaves open, batch first; once per input",
    )


def add_choices(command: argparse._ActionsContainer) -> None:
    """How to quantize, beside the bits of weights and activations."""
    command.add_argument(
        "--effort",
        type=effort,
        metavar="fast|default|best",
        help="time for accuracy: rounding to the nearest; learned rounding below 8 bits; the same, polished",
    )
    command.add_argument(
        "--edges",
        type=bits,
        metavar="BITS",
        help="of the model's inputs and outputs; default: 8, or --activations if more",
    )
    command.add_argument(
        "--granularity",
        type=granularity,
        metavar="channel|tensor|group=N",
        help="of weight scales, or of multipliers for every N inputs beside them; default: the target's first",
    )
    command.add_argument("--scales", type=scales, metavar="free|power-of-two", help="default: the target's")
    command.add_argument(
        "--symmetric-activations", action="store_true", default=None, help="give activations zero point 0"
    )
    command.add_argument(
        "--observer",
        type=observer,
        metavar="auto|min-max|percentile|mse|kl",
        help="how activation ranges are chosen; default: auto, the one that moves the outputs least; below 8 bits, mse",
    )
    command.add_argument(
        "--correct-biases",
        action="store_true",
        default=None,
        help="let biases make up for what rounding weights of 8 bits does to the mean of each channel; below 8 bits "
        "they always do",
    )


def add_sensitivity(command: argparse._ActionsContainer) -> None:
    """--sensitivity."""
    command.add_argument(
        "--sensitivity",
        type=sensitivity,
        metavar="FILE.json",
        help="what bits cost the outputs, from the manifest of a mixed compile, in place of measuring it",
    )


def add_seed(command: argparse._ActionsContainer) -> None:
    """--seed."""
    command.add_argument("--seed", type=seed, metavar="N", help="of everything that draws random numbers; default: 0")


BY_NAME = {"budgets": "budget", "input_ranges": "input_range", "input_shapes": "input_shape"}
"""Fields of a recipe that are tables, and the option that is given once for each name."""


def recipe_given(options: argparse.Namespace) -> Recipe:
    """The recipe that the options of a command say; a field has the name of its option, but for those of many."""
    from bitsmith.recipe import Recipe

    given = vars(options)
    said: dict[str, Any] = {one.name: given[one.name] for one in fields(Recipe) if one.name in given}
    said |= {name: dict(given[option]) for name, option in BY_NAME.items() if option in given}
    kernels = given.get("kernel")
    return Recipe(**said, kernels=None if kernels is None else tuple(kernels))


def shapes_given(options: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """The shapes of --input-shape, by input name."""
    return dict(options.input_shape)


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `x=1,3,32,32`."""
    name, separator, sizes = text.rpartition("=")
    if not separator or not name or not all(size.strip().isdecimal() for size in sizes.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=1,3,32,32")
    return name, tuple(int(size) for size in sizes.split(","))


def input_range(text: str) -> tuple[str, tuple[float, float]]:
    """Read `x=0,255`."""
    name, separator, ends = text.rpartition("=")
    problem = argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=LOW,HIGH with LOW below HIGH")
    if not separator or not name:
        raise problem
    try:
        low, high = (float(end) for end in ends.split(","))
    except ValueError:
        raise problem from None
    if not -math.inf < low < high < math.inf:
        raise problem
    return name, (low, high)


def bits(text: str) -> int:
    """Read a width in bits."""
    if not text.isdecimal() or not 2 <= int(text) <= 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a width from 2 to 16")
    return int(text)


def weights(text: str) -> int | str:
    """Read bits of weights, the name of a format, or mixed."""
    from bitsmith.recipe_file import weights_given

    return _read(weights_given, int(text) if text.isdecimal() else text)


def activations(text: str) -> int | str:
    """Read bits of activations, or mixed."""
    if text == "mixed" or text.isdecimal():
        return text if text == "mixed" else bits(text)
    meant = did_you_mean(text, ("mixed",))
    raise argparse.ArgumentTypeError(f"{text!r} is neither a width from 2 to 16 nor mixed. {meant}".rstrip())


def budget(text: str) -> tuple[str, float]:
    """Read `flash=64KiB`."""
    from bitsmith.allocation.budgets import budget

    return _read(budget, text)


def points(text: str) -> float:
    """Read a share of samples in percent."""
    from bitsmith.recipe_file import points

    try:
        number: object = float(text)
    except ValueError:
        number = text
    return _read(points, number)


def allocation(text: str) -> Allocation:
    """Read a file of bits by name."""
    from bitsmith.allocation.files import read_allocation

    return read_allocation(text)


def sensitivity(text: str) -> Sensitivity:
    """Read a file of what bits cost."""
    from bitsmith.allocation.files import read_sensitivity

    return read_sensitivity(text)


def granularity(text: str) -> str:
    """Read a granularity of weight scales."""
    from bitsmith.recipe_file import granularity_given

    return _read(granularity_given, text)


def effort(text: str) -> str:
    """Read how much time may go into accuracy."""
    from bitsmith.pipelines import EFFORTS

    return _one_of(text, EFFORTS)


def scales(text: str) -> str:
    """Read which scales there may be."""
    from bitsmith.recipe_file import SCALES

    return _one_of(text, SCALES)


def _read(reader: Callable[[Given], Read], given: Given) -> Read:
    try:
        return reader(given)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def observer(text: str) -> str:
    """Read how ranges are chosen."""
    from bitsmith.observers import AUTO, OBSERVERS

    return _one_of(text, (AUTO, *OBSERVERS))


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        message = f"{text!r} is not one of {', '.join(known)}. {did_you_mean(text, known)}"
        raise argparse.ArgumentTypeError(message.rstrip())
    return text


def seed(text: str) -> int:
    """Read a seed."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {2**32 - 1}")
    return int(text)
