"""Tables: functions of one element, looked up, or interpolated between what is looked up."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.integer import KNOT_FRACTION, InterpolatedTable, Table


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


class PortableInterpolatedTable(KernelFamily):
    """Two look-ups in small tables, two neighbouring knots and a multiplication an element; shifts, no division."""

    name: ClassVar[str] = "interpolated-table"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, InterpolatedTable) else "it is no InterpolatedTable"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, InterpolatedTable)
        rows, points = operation.knots.shape
        channels = site.x.shape[-1] if rows > 1 else 1
        growth = max(site.output.itemsize - site.x.itemsize, 0)
        comment = f"by channel, {points} each" if rows > 1 else f"of {operation.function.op}"
        return Kernel(
            self.name,
            "interpolated_table.c.j2",
            context={
                "channels": channels,
                "pixels": site.x.elements // channels,
                "points": points,
                "width": operation.segment_places,
                "fraction": KNOT_FRACTION,
                "lowest": site.x.format.type.lowest,
                "clamp": (operation.lowest, operation.highest),
            },
            constants=(
                Constant("knots", "int32_t", operation.knots, f"{comment}, in 1/{1 << KNOT_FRACTION} of a step"),
                Constant("starts", "uint16_t", operation.starts, "the first knot of each segment"),
                Constant("places", "uint8_t", operation.places, "a knot for 2^places inputs"),
            ),
            gaps={0: (site.x.elements - 1) * growth},
            note=operation.function.op,
        )
