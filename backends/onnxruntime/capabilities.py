"""What this backend cannot be asked for."""

from __future__ import annotations

from bitsmith.backend import Refusal
from bitsmith.target import Target

WIDEST = 8


def refusals(target: Target) -> list[Refusal]:
    """What in a target has no integer kernel in ORT.

    Every operation of an integer graph has a form here, so no node is refused. Activations narrower than 8 bits are
    held one to a byte: exact, but neither smaller nor faster. How weights are kept, `weights` says.
    """
    asked = [("weight", bits) for bits in target.weight_bits] + [
        ("activation", bits) for bits in target.activation_bits
    ]
    return [
        Refusal(
            f"target {target.name}",
            f"ONNX Runtime has no integer kernels for {bits}-bit {what}s",
            f"Keep {what}_bits at {WIDEST} or below.",
        )
        for what, bits in asked
        if bits > WIDEST
    ]
