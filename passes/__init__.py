"""One idea per file: each pass rewrites a graph or decides something about it."""
