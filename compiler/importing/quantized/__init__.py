"""Models that others quantized, made into a float graph and the quantizers that were in it; `load.load_quantized`."""
