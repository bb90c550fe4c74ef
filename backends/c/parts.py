"""Which kernels do a layer's rows in a stream: the fastest, or the fastest of those with so much scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice, pairwise

from bitsmith.backends.c.kernels import Kernel, Site, candidates
from bitsmith.backends.c.rows import Span
from bitsmith.backends.c.stage import Step
from bitsmith.backends.c.stream import Choose, Key, Stream

SLOWER, OTHER_FAMILY = 1 / 32, 2.0
"""What a kernel costs more than the next faster one, in multiply-accumulates: of its own family, and of another."""

_Like = tuple[str, tuple[int, tuple[Span, ...]]]
"""The same for rows that a kernel does alike, in any stream: the layer's function, and `Key` but for its place."""


def slowness(kernels: Iterable[Kernel], taken: Kernel) -> float:
    """What a kernel costs more than the first of these, the fastest first, by the multiply-accumulate."""
    cost = 0.0
    for faster, kernel in pairwise(kernels):
        if faster is taken:
            break
        cost += SLOWER if kernel.family == faster.family else OTHER_FAMILY
    return cost


class Parts:
    """The kernels for rows of layers, each looked for once."""

    def __init__(self) -> None:
        self._first: dict[_Like, Kernel] = {}
        self._all: dict[_Like, tuple[Kernel, ...]] = {}

    def fastest(self, step: Step, sites: Mapping[Key, Site]) -> Mapping[Key, Kernel]:
        """Of each of a layer's parts."""
        return {one: self._fastest(step, one, site) for one, site in sites.items()}

    def leaner(self, most: int) -> Choose:
        """Of kernels with `most` bytes of scratch the fastest; those with the least where none has so few.

        All parts of a layer are of one family where one can do them, so that they share its weights.
        """

        def chosen(step: Step, sites: Mapping[Key, Site]) -> Mapping[Key, Kernel]:
            serving = {one: self._serving(step, one, site) for one, site in sites.items()}
            fit = {one: [kernel for kernel in kernels if kernel.scratch <= most] for one, kernels in serving.items()}
            for family in dict.fromkeys(kernel.family for kernels in fit.values() for kernel in kernels):
                found = {one: next((k for k in kernels if k.family == family), None) for one, kernels in fit.items()}
                taken = {one: kernel for one, kernel in found.items() if kernel is not None}
                if len(taken) == len(sites):
                    return taken
            return {one: min(kernels, key=lambda kernel: kernel.scratch) for one, kernels in serving.items()}

        return chosen

    def slowness(self, made: Stream) -> float:
        """What the kernels of a stream cost more than the fastest, in multiply-accumulates."""
        worst: dict[str, float] = {}
        for one, part in made.parts.items():
            step = made.whole[one[0] - (made.source is not None)]
            if part.kernel is not self._fastest(step, one, part.site):
                cost = step.macs * slowness(self._serving(step, one, part.site), part.kernel)
                worst[step.function] = max(worst.get(step.function, 0.0), cost)
        return sum(worst.values())

    def _fastest(self, step: Step, one: Key, site: Site) -> Kernel:
        like = step.function, one[1:]
        if like not in self._first:
            self._first[like] = next(iter(candidates(site)))
        return self._first[like]

    def _serving(self, step: Step, one: Key, site: Site) -> tuple[Kernel, ...]:
        like = step.function, one[1:]
        if like not in self._all:
            self._all[like] = (self._fastest(step, one, site), *islice(candidates(site), 1, None))
        return self._all[like]
