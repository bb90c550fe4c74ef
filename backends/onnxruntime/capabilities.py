"""What this backend cannot be asked for."""

from __future__ import annotations

from bitsmith.backend import Refusal
from bitsmith.target import Target

BYTE = 8
WIDEST = 16


def refusals(target: Target) -> list[Refusal]:
    """What in a target is wider than ORT runs.

    Every operation of an integer graph has a form here, so no node is refused. Activations narrower than 8 bits are
    held one to a byte: exact, but neither smaller nor faster. Wider ones are held in 16 bits, and what reads or makes
    them runs in float: good for telling what they would gain, not for speed. How weights are kept, `weights` says.
    """
    asked = [("weight", bits, BYTE) for bits in target.weight_bits] + [
        ("activation", bits, WIDEST) for bits in target.activation_bits
    ]
    return [
        Refusal(
            f"target {target.name}",
            f"ONNX Runtime runs no {bits}-bit {what}s",
            f"Keep {what}_bits at {widest} or below.",
        )
        for what, bits, widest in asked
        if bits > widest
    ]
