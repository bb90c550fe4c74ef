"""What a program is a sequence of: stages, each of which reads values and makes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from bitsmith.backends.c.kernels import Kernel, Site
from bitsmith.backends.c.layout import Tensor


class Stage(ABC):
    """One call of a generated function, and what the memory planner must know of it."""

    @property
    @abstractmethod
    def function(self) -> str:
        """The C identifier of what is called."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Tensor, ...]:
        """What is read, constants among it."""

    @property
    @abstractmethod
    def computed(self) -> tuple[Tensor, ...]:
        """Of these, what the function is given, in order."""

    @property
    @abstractmethod
    def output(self) -> Tensor:
        """What is made."""

    @property
    @abstractmethod
    def scratch(self) -> int:
        """Bytes of the arena that are needed meanwhile."""

    @property
    @abstractmethod
    def scratch_alignment(self) -> int:
        """Of these, in bytes."""

    @property
    @abstractmethod
    def gaps(self) -> Mapping[int, int | None]:
        """How the output may overlap inputs, by their position: see `Kernel.gaps`."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates with weights."""

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The kernels' functions that it takes."""

    @property
    def fetched(self) -> Tensor | None:
        """The model's input that it asks the caller for row by row, so that it is not in memory whole."""
        return None

    @property
    def scratch_name(self) -> str:
        """Of its scratch buffer."""
        return f"scratch of {self.function}"


@dataclass(frozen=True, eq=False)
class Step(Stage):
    """One operation, whole: one call of its kernel's function.

    others: kernels that could serve too, in order of speed, all slower than `kernel`.
    """

    site: Site
    kernel: Kernel
    others: tuple[Kernel, ...] = ()

    @property
    def function(self) -> str:
        return self.site.function

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.site.inputs

    @property
    def computed(self) -> tuple[Tensor, ...]:
        return tuple(self.site.inputs[position] for position in self.site.parameters)

    @property
    def output(self) -> Tensor:
        return self.site.output

    @property
    def scratch(self) -> int:
        return self.kernel.scratch

    @property
    def scratch_alignment(self) -> int:
        return self.kernel.scratch_alignment

    @property
    def gaps(self) -> Mapping[int, int | None]:
        return self.kernel.gaps

    @property
    def macs(self) -> int:
        return self.site.macs

    @property
    def steps(self) -> tuple[Step, ...]:
        return (self,)
