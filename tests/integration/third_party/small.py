"""Make small.onnx, the float model that the exports beside it were quantized from.

usage: python -m tests.integration.third_party.small

Random convolutions, and a classifier fitted to what they make of scikit-learn's digits by least squares, so that
accuracy means something. None of the digits are those of models/digits/evaluation.npz.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
DIGITS = HERE.parents[2] / "models" / "digits"
SEED = 7
DAMPING = 3e-5


def main() -> None:
    """Fit and write the model."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:, np.newaxis] / 16).astype(np.float32)
    held_out = {image.tobytes() for image in np.load(DIGITS / "evaluation.npz")["x"]}
    ours = np.array([image.tobytes() not in held_out for image in images])
    weights = features(np.random.default_rng(SEED))
    untrained = {**weights, "classifier.weight": np.eye(64, dtype=np.float32), "classifier.bias": np.zeros(64)}
    session = onnxruntime.InferenceSession(model(untrained).SerializeToString(), providers=["CPUExecutionProvider"])
    flat = session.run(None, {"x": images[ours]})[0].astype(np.float64)
    centred = flat - flat.mean(axis=0)
    wanted = 4.0 * (np.eye(10)[digits.target[ours]] - 0.1)
    classifier = np.linalg.solve(centred.T @ centred + DAMPING * len(flat) * np.eye(64), centred.T @ wanted)
    bias = wanted.mean(axis=0) - flat.mean(axis=0) @ classifier
    onnx.save(model({**weights, "classifier.weight": classifier.T, "classifier.bias": bias}), HERE / "small.onnx")


def features(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of the convolutions, of variance 2 / fan-in, and of one batch normalization."""
    shapes = {
        "stem": (16, 1, 3, 3),
        "depthwise": (16, 1, 3, 3),
        "pointwise": (16, 16, 1, 1),
        "residual": (16, 16, 3, 3),
    }
    made = {}
    for name, shape in shapes.items():
        made[f"{name}.weight"] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        made[f"{name}.bias"] = random.normal(0, 0.1, shape[0])
    made["norm.scale"], made["norm.bias"] = random.uniform(0.7, 1.3, 16), random.normal(0, 0.2, 16)
    made["norm.mean"], made["norm.variance"] = random.normal(0, 0.2, 16), random.uniform(0.5, 1.5, 16)
    return made


def model(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Dense, depthwise and pointwise convolution, normalization, a residual, both kinds of pool, a dense layer."""
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    norm = [f"norm.{one}" for one in ("scale", "bias", "mean", "variance")]
    limits = {"zero": np.float32(0), "six": np.float32(6)}
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["stem"], **pads),
        helper.make_node("Relu", ["stem"], ["stem.relu"]),
        helper.make_node("Conv", ["stem.relu", "depthwise.weight", "depthwise.bias"], ["depthwise"], group=16, **pads),
        helper.make_node("Clip", ["depthwise", "zero", "six"], ["depthwise.relu"]),
        helper.make_node(
            "Conv", ["depthwise.relu", "pointwise.weight", "pointwise.bias"], ["pointwise"], kernel_shape=[1, 1]
        ),
        helper.make_node("BatchNormalization", ["pointwise", *norm], ["norm"]),
        helper.make_node("Relu", ["norm"], ["norm.relu"]),
        helper.make_node("MaxPool", ["norm.relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool", "residual.weight", "residual.bias"], ["residual"], **pads),
        helper.make_node("Add", ["pool", "residual"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["sum.relu"]),
        helper.make_node("AveragePool", ["sum.relu"], ["average"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["average"], ["flat"]),
        helper.make_node("Gemm", ["flat", "classifier.weight", "classifier.bias"], ["y"], transB=1),
    ]
    for node in nodes:
        node.name = f"{node.output[0]}.node"
    classes = len(weights["classifier.bias"])
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in {**limits, **weights}.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    main()
