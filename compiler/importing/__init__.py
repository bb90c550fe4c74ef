"""A model as its exporter left it, made into the float graph that passes work on; `load.load_graph` does it all."""
