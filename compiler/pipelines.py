"""Pipelines by name: which passes run, in which order."""

NORMALISE = ",".join(
    (
        # Shape arithmetic goes first: what it computed decides whether the rest is constant.
        "fold-constants",
        "lower-reshapes",
        "canonicalize-slices",
        "canonicalize-pads",
        "canonicalize-resizes",
        "lower-means",
        "explicit-padding",
        "sink-softmax",
        "remove-no-ops",
        "canonicalize-gemm",
        "recognize-activations",
        "fold-padding",
        "fold-batch-norm",
        "fold-affine",
        # What could not be folded; a Conv that this makes may take up its neighbours in turn.
        "lower-affine",
        "fold-affine",
        "remove-no-ops",
        "canonicalize-gemm",
    )
)
"""Bring a loaded graph to the ops of ir/legal.py."""
