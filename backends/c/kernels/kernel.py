"""What a kernel is: how one operation is done in C, and what that takes.

A `KernelFamily` looks at a `Site` (an operation in its place) and either says why it cannot serve there or gives a
`Kernel`: a template, what to fill it with, the constants it reads, and what it asks of the memory planner. Nothing is
interpreted at run time: every size is a number in the generated function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.layout import Tensor
from bitsmith.errors import InternalError
from bitsmith.ir.bounds import Interval
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Operation
from bitsmith.target import Target

Fit = TypeVar("Fit")


@dataclass(frozen=True, eq=False)
class Site:
    """An operation in its place: all that a kernel for it can depend on.

    function:  the C identifier of the function to write; its constants are called `function_name`.
    inputs, output: the tensors, channels last. ranges: of each input, the integers that can occur.
    constants: of the operands that are constant, by position: the integers, channels last, of the result's rank.
    magnitude: no partial sum of the accumulator exceeds it, operands taken less their zero points; 0 where none is.
    macs:      multiply-accumulates with weights.
    """

    operation: Operation
    function: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    ranges: tuple[Interval, ...]
    constants: Mapping[int, IntegerArray]
    magnitude: int
    macs: int
    target: Target

    @property
    def x(self) -> Tensor:
        """The first operand."""
        return self.inputs[0]

    @property
    def parameters(self) -> dict[int, str]:
        """Names in C of the operands that are computed, by position: x; a and b; or x0, x1 and so on."""
        count = len(self.inputs)
        names = ("x",) if count == 1 else ("a", "b") if count == 2 else tuple(f"x{i}" for i in range(count))
        return {position: name for position, name in enumerate(names) if position not in self.constants}


@dataclass(frozen=True, eq=False)
class Constant:
    """A `static const` array of the generated file, called `<function>_<name>` there.

    data:    integers that `ctype` holds, printed in C order. alignment: in bytes; 0 for that of the type.
    comment: what it holds and in which order.
    """

    name: str
    ctype: str
    data: npt.NDArray[np.integer[Any]]
    comment: str = ""
    alignment: int = 0

    @property
    def key(self) -> bytes:
        """The same for arrays that may be one."""
        text = f"{self.ctype} {self.alignment} {self.data.shape}".encode()
        return text + np.ascontiguousarray(self.data, np.int64).tobytes()

    @property
    def bytes(self) -> int:
        """Of flash."""
        return int(self.data.size) * int(np.dtype(self.ctype.removesuffix("_t")).itemsize)


@dataclass(frozen=True, eq=False)
class Kernel:
    """How one operation is done.

    family:    the name of the family that made it, for reports and comments.
    template:  a file of templates/c/ that renders the whole function `<function>`; it sees `site`, `kernel`,
               everything in `context`, and `c.<name>`, the C name of each constant. The function is
               `KERNEL void <function>(const T *x, [..., ] U *y[, void *scratch])`: `macros.signature` writes that.
               Its C must compile, and give the same integers, on any machine: intrinsics stand behind `#if` beside
               their meaning in plain C.
    constants: arrays that it reads.
    helpers:   templates of functions shared by kernels, each emitted once and in the order of first use. Each sees
               `users`, the kernels that need it, and holds what all of them ask for.
    shared:    templates of functions that the kernel's own calls, by what it calls them: `shared.<that>` is the C name.
               Each sees what the kernel's template sees but the names of constants, and `name`. Functions that come
               out the same are written once, so what differs between operations should be told them at run time.
    scratch:   bytes of the arena that it needs while it runs, aligned to `scratch_alignment`.
    gaps:      by operand: it works where the output's first byte lies at least this many bytes before the operand's
               first byte, though the two overlap; 0 is in place (or further ahead), and below 0 the output may start
               so many bytes behind the operand's first. None is in place and nowhere else. An operand that is absent
               must not overlap the output.
    note:      why this kernel, in a few words, for the report and the function's comment.
    """

    family: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[Constant, ...] = ()
    helpers: tuple[str, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    scratch: int = 0
    scratch_alignment: int = 4
    gaps: Mapping[int, int | None] = field(default_factory=dict)
    note: str = ""

    @property
    def own_names(self) -> Mapping[str, str]:
        """What functions that are told of the constants call them, in place of their names in C."""
        return {constant.name: constant.name for constant in self.constants}

    @property
    def flash(self) -> int:
        """Bytes of its constants."""
        return sum(constant.bytes for constant in self.constants)


class KernelFamily(ABC):
    """Makes kernels of one kind. Made without arguments; holds no state."""

    name: ClassVar[str]

    @abstractmethod
    def refusal(self, site: Site) -> str | None:
        """Why no kernel of this family can serve here; None if one can."""

    @abstractmethod
    def kernel(self, site: Site) -> Kernel:
        """The fastest kernel for a site that is not refused."""

    def kernels(self, site: Site) -> Sequence[Kernel]:
        """All kernels for it, the fastest first, each of the others with less scratch than those before."""
        return (self.kernel(site),)


class FittingFamily(KernelFamily, Generic[Fit]):
    """A family that finds what its kernels are made of as it finds out whether it can serve."""

    @abstractmethod
    def fit(self, site: Site) -> Fit | str:
        """How it can serve here, or why it cannot."""

    @abstractmethod
    def made(self, site: Site, fit: Fit) -> Kernel:
        """The fastest kernel for a site that fits so."""

    def refusal(self, site: Site) -> str | None:
        found = self.fit(site)
        return found if isinstance(found, str) else None

    def kernel(self, site: Site) -> Kernel:
        found = self.fit(site)
        if isinstance(found, str):
            raise InternalError(f"the kernel {self.name} was asked for although {found}", where=site.operation.name)
        return self.made(site, found)
