"""One part of a network changed, all else as in float: how far the outputs move."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bitsmith.execution.divergence import Divergence
from bitsmith.execution.network import Layer, Network, Tail
from bitsmith.passes.sensitivity.study import FloatArray

Arrays = Mapping[str, FloatArray]


class Felt:
    """Nats that the outputs move by. What comes before the change is not run again, what comes behind it is made once.

    The tail behind the last change is kept, so changes of one part should follow each other.
    """

    def __init__(self, network: Network, divergence: Divergence) -> None:
        self.network = network
        self._divergence = divergence
        self._tail: tuple[tuple[str, ...], Tail] | None = None

    def constants(self, layer: Layer, replaced: Arrays) -> float:
        """With other constants in one layer."""
        made = self.network.run(self.network.graph, layer, replaced)
        return self.activations({layer.output.name: made})

    def activations(self, changed: Arrays, replaced: Arrays = MappingProxyType({})) -> float:
        """With other activations, and other constants wherever these are read."""
        names = tuple(changed)
        if replaced:
            tail = self.network.tail(names, replaced)
        elif self._tail is not None and self._tail[0] == names:
            tail = self._tail[1]
        else:
            tail = self.network.tail(names)
            self._tail = names, tail
        return self._divergence(self.network.activations, tail.outputs(changed))
