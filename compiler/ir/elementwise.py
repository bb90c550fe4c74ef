"""Functions of one value: what each computes, in float64. One table, which every stage that meets them asks.

Element by element, and of nothing but the node's own attributes: their integer form is a table with an entry for every
input integer. Clip, PRelu and Min, which have constant operands, are tabulated as well but have rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Node

Reals = npt.NDArray[np.float64]
Function = Callable[[Node, Reals], Reals]


def _of(function: Callable[[Reals], Reals]) -> Function:
    return lambda node, x: function(x)


def _special(name: str) -> Function:
    """A function of scipy's, which is imported where a model has one alone: it takes 20 MB, and a moment."""

    def compute(node: Node, x: Reals) -> Reals:
        from scipy import special

        found: Reals = getattr(special, name)(x)
        return found

    return compute


def _number(node: Node, name: str, default: float) -> float:
    return float(node.attribute(name, default))


def _exponential_below(x: Reals, scale: float, alpha: float = 1.0) -> Reals:
    """Return x above 0, `scale * (exp(x / alpha) - 1)` below."""
    return np.where(x > 0, x, scale * np.expm1(np.minimum(x, 0.0) / alpha))


def _celu(node: Node, x: Reals) -> Reals:
    alpha = _number(node, "alpha", 1.0)
    return _exponential_below(x, alpha, alpha)


def _elu(node: Node, x: Reals) -> Reals:
    return _exponential_below(x, _number(node, "alpha", 1.0))


def _gelu(node: Node, x: Reals) -> Reals:
    """Hendrycks and Gimpel 2016, arXiv:1606.08415: x times the normal distribution's function, or by its tanh form."""
    if node.attribute("approximate", "none") == "tanh":
        share: Reals = 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    else:
        share = _special("ndtr")(node, x)
    return x * share


def _hard_sigmoid(node: Node, x: Reals) -> Reals:
    return np.clip(_number(node, "alpha", 0.2) * x + _number(node, "beta", 0.5), 0.0, 1.0)


def _leaky_relu(node: Node, x: Reals) -> Reals:
    return np.where(x < 0, _number(node, "alpha", 0.01) * x, x)


def _selu(node: Node, x: Reals) -> Reals:
    """Klambauer et al. 2017, arXiv:1706.02515; the defaults are ONNX's, to float32."""
    alpha, gamma = _number(node, "alpha", 1.67326319217681884765625), _number(node, "gamma", 1.05070102214813232421875)
    return gamma * _exponential_below(x, alpha)


def _shrink(node: Node, x: Reals) -> Reals:
    bias, threshold = _number(node, "bias", 0.0), _number(node, "lambd", 0.5)
    return np.where(x < -threshold, x + bias, np.where(x > threshold, x - bias, 0.0))


def _softplus(x: Reals) -> Reals:
    return np.logaddexp(0.0, x)


FUNCTIONS: dict[str, Function] = {
    "Abs": _of(np.abs),
    "Acos": _of(np.arccos),
    "Acosh": _of(np.arccosh),
    "Asin": _of(np.arcsin),
    "Asinh": _of(np.arcsinh),
    "Atan": _of(np.arctan),
    "Atanh": _of(np.arctanh),
    "Ceil": _of(np.ceil),
    "Celu": _celu,
    "Cos": _of(np.cos),
    "Cosh": _of(np.cosh),
    "Elu": _elu,
    "Erf": _special("erf"),
    "Exp": _of(np.exp),
    "Floor": _of(np.floor),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _of(lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0)),
    "LeakyRelu": _leaky_relu,
    "Log": _of(np.log),
    "Mish": _of(lambda x: x * np.tanh(_softplus(x))),
    "Neg": _of(np.negative),
    "Reciprocal": _of(np.reciprocal),
    "Relu": _of(lambda x: np.maximum(x, 0.0)),
    # Half to even, as ONNX has it.
    "Round": _of(np.rint),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _special("expit"),
    "Sign": _of(np.sign),
    "Sin": _of(np.sin),
    "Sinh": _of(np.sinh),
    "Softplus": _of(_softplus),
    "Softsign": _of(lambda x: x / (1.0 + np.abs(x))),
    "Sqrt": _of(np.sqrt),
    "Tan": _of(np.tan),
    "Tanh": _of(np.tanh),
    "ThresholdedRelu": lambda node, x: np.where(x > _number(node, "alpha", 1.0), x, 0.0),
}
"""By ONNX op. Outside of its domain a function gives NaN, at its poles infinity; neither warns."""

TABULATED = frozenset(FUNCTIONS) | {"Clip", "Min", "PRelu"}
"""Ops that become a table where they do not ride in another op's requantize step."""

RISING = frozenset(
    {
        *("Asin", "Asinh", "Atan", "Atanh", "Acosh", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor"),
        *("HardSigmoid", "LeakyRelu", "Log", "Min", "PRelu", "Relu", "Round", "Selu", "Sigmoid", "Sign"),
        *("Sinh", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
    }
)
"""Tabulated ops that never fall, as long as their slopes are not negative."""


def apply(node: Node, x: Reals) -> Reals:
    """What the function of a node of FUNCTIONS makes of x, silently NaN or infinite where it is not defined."""
    with np.errstate(all="ignore"):
        return FUNCTIONS[node.op](node, x)
