"""The types that flow through the compiler, from float graph to integer graph."""
