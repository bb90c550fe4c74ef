"""Kernels by operation: which can serve, and which is taken."""

from __future__ import annotations

from collections.abc import Iterator

from bitsmith.backends.c.kernels.attention import PortableMatMul, PortableSoftmax
from bitsmith.backends.c.kernels.avx2 import Avx2Bytes, Avx2Tables, Avx2Words
from bitsmith.backends.c.kernels.binary import PortableBinary
from bitsmith.backends.c.kernels.conv import PortableConv, PortableDepthwise, PortableGroupedConv
from bitsmith.backends.c.kernels.dsp import (
    DspAdd,
    DspAverage,
    DspConv,
    DspDepthwise,
    DspLinear,
    DspNarrowConv,
    DspNarrowLinear,
    DspPairedConv,
    DspPairedLinear,
    DspTernaryConv,
    DspTernaryLinear,
)
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.layer_norm import PortableLayerNorm
from bitsmith.backends.c.kernels.linear import PortableLinear
from bitsmith.backends.c.kernels.moves import PortableMove
from bitsmith.backends.c.kernels.mve import (
    HeliumAdd,
    HeliumConv,
    HeliumDepthwise,
    HeliumLinear,
    HeliumNarrowConv,
    HeliumNarrowLinear,
    HeliumTernaryConv,
    HeliumTernaryLinear,
)
from bitsmith.backends.c.kernels.planes import TableProducts
from bitsmith.backends.c.kernels.pooling import PortableAveragePool, PortableMaxPool
from bitsmith.backends.c.kernels.preferences import Preferences
from bitsmith.backends.c.kernels.table import PortableInterpolatedTable, PortableTable
from bitsmith.errors import InternalError, UnsupportedError

__all__ = ["FAMILIES", "Constant", "Kernel", "KernelFamily", "Site", "candidates"]

FAMILIES: tuple[KernelFamily, ...] = (
    HeliumDepthwise(),
    HeliumConv(),
    HeliumLinear(),
    HeliumNarrowConv(),
    HeliumNarrowLinear(),
    HeliumTernaryConv(),
    HeliumTernaryLinear(),
    HeliumAdd(),
    DspDepthwise(),
    DspConv(),
    DspPairedConv(),
    DspTernaryConv(),
    DspNarrowConv(),
    DspLinear(),
    DspPairedLinear(),
    DspTernaryLinear(),
    DspNarrowLinear(),
    DspAdd(),
    DspAverage(),
    Avx2Tables(),
    Avx2Bytes(),
    Avx2Words(),
    TableProducts(),
    PortableDepthwise(),
    PortableConv(),
    PortableGroupedConv(),
    PortableLinear(),
    PortableBinary(),
    PortableAveragePool(),
    PortableMaxPool(),
    PortableMatMul(),
    PortableSoftmax(),
    PortableLayerNorm(),
    PortableTable(),
    PortableInterpolatedTable(),
    PortableMove(),
)
"""In order of preference: the first that does not refuse is taken. Those of one machine come before portable ones."""


def candidates(site: Site) -> Iterator[Kernel]:
    """The kernels that can serve a site, the fastest first: of the family that the target demands, or of all.

    Raises UnsupportedError where a family that is demanded for the operation cannot serve.
    """
    preferences = Preferences.of(site.target)
    demanded = preferences.demanded(site.operation.name)
    if demanded is not None:
        family = next(one for one in FAMILIES if one.name == demanded)
        reason = family.refusal(site)
        if reason is not None:
            raise UnsupportedError(
                f"the kernel {demanded} that target {site.target.name} asks for cannot serve: {reason}",
                where=f"{site.operation.kind} {site.operation.name}",
                fix="Leave it out of the option `kernels`.",
            )
        yield from family.kernels(site)
        return
    serving = [family for family in FAMILIES if family.refusal(site) is None]
    if not serving:
        raise InternalError(f"no kernel of the C backend does a {site.operation.kind}", where=site.operation.name)
    for family in sorted(serving, key=lambda one: one.name not in preferences.first):
        yield from family.kernels(site)
