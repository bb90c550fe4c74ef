"""ONNX Runtime: a QDQ graph that its integer kernels run."""
