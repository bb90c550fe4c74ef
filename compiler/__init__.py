"""bitsmith: trained float ONNX models to verified integer artifacts for small machines.

    import bitsmith

    artifact = bitsmith.compile("model.onnx", "onnxruntime", "calibration.npz", "out")
    print(bitsmith.evaluate("out", "evaluation.npz"))
    assert bitsmith.verify("out").passed

Names load what they need when they are first asked for, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitsmith.artifact import Artifact as Artifact
    from bitsmith.artifact import load as load
    from bitsmith.driver import compile as compile
    from bitsmith.errors import BitsmithError as BitsmithError
    from bitsmith.evaluation import evaluate as evaluate
    from bitsmith.legality import check as check
    from bitsmith.manager import Changes as Changes
    from bitsmith.manager import Pass as Pass
    from bitsmith.manager import Pipeline as Pipeline
    from bitsmith.module import Module as Module
    from bitsmith.recipe import Recipe as Recipe
    from bitsmith.target import Target as Target
    from bitsmith.verification import verify as verify

_HOMES = {
    "Artifact": "artifact",
    "BitsmithError": "errors",
    "Changes": "manager",
    "Module": "module",
    "Pass": "manager",
    "Pipeline": "manager",
    "Recipe": "recipe",
    "Target": "target",
    "check": "legality",
    "compile": "driver",
    "evaluate": "evaluation",
    "load": "artifact",
    "verify": "verification",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bitsmith")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
