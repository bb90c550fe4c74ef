"""Options that several commands take, and how their texts are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bitsmith.registry import did_you_mean

if TYPE_CHECKING:
    from bitsmith.ir.allocation import Allocation
    from bitsmith.ir.sensitivity import Sensitivity

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
