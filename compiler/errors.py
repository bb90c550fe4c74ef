"""The one tree of errors: each says what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import Any


class BitsmithError(Exception):
    """Anything that stops a compile for a reason its user can act on.

    what:  the fault, in one line.
    where: the node, value, file or option it was found in; empty where the fault is not local.
    fix:   what to do about it, as an instruction.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(what, where, fix)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle needs to hand an error from one process to another."""
        return _again, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{ended(located)} {self.fix}" if self.fix else located


def ended(text: str) -> str:
    """The text as a sentence, which may end already."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _again(kind: type[BitsmithError], what: str, where: str, fix: str) -> BitsmithError:
    return kind(what, where=where, fix=fix)


class ModelError(BitsmithError):
    """The ONNX model cannot be read or is not what a compile needs."""


class UnsupportedError(ModelError):
    """An op, attribute or shape that bitsmith or the target cannot do, refused by name.

    each: all that was found along with it, one by one; by default it alone.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.each: tuple[UnsupportedError, ...] = (self,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Along with what was found beside it: without, it is alone, as one that is new."""
        made = super().__reduce__()
        return made if self.each == (self,) else (*made, {"each": self.each})


class DataError(BitsmithError):
    """Calibration or evaluation data that does not fit."""


class PipelineError(BitsmithError):
    """A pipeline, pass name or pass option that makes no sense."""


class TargetError(BitsmithError):
    """A target file that is malformed or asks for what its backend cannot do."""


class ArtifactError(BitsmithError):
    """A compiled folder that is missing, incomplete or altered."""


class BudgetError(BitsmithError):
    """The model was compiled, but does not fit what it was given."""

    exit_code = 1


class VerificationError(BitsmithError):
    """An artifact does not compute what its integer graph says."""

    exit_code = 1


class InternalError(BitsmithError):
    """bitsmith broke one of its own rules: a defect to report, not a mistake of the user."""

    exit_code = 1
