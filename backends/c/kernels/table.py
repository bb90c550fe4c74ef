"""Table: functions of one element, looked up."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.integer import Table


class PortableTable(KernelFamily):
    """One look-up an element."""

    name: ClassVar[str] = "table"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Table) else "it is no Table"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Table)
        rows, length = operation.entries.shape
        channels = site.x.shape[-1] if rows > 1 else 1
        growth = max(site.output.itemsize - site.x.itemsize, 0)
        comment = f"by channel, {length} each" if rows > 1 else f"of {operation.function.op}"
        return Kernel(
            self.name,
            "table.c.j2",
            context={
                "channels": channels,
                "pixels": site.x.elements // channels,
                "length": length,
                "lowest": site.x.format.type.lowest,
            },
            constants=(Constant("entries", site.output.ctype, operation.entries, comment),),
            gaps={0: (site.x.elements - 1) * growth},
            note=operation.function.op,
        )
