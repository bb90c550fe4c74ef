"""One folder per kind of artifact: capabilities, lowering, emission and verification."""
