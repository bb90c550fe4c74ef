"""Make toy jets, train a small network to tell five kinds apart, and write it as float32 ONNX with its data.

Writes beside this file:

    jets.onnx         float32 x (batch, 16), standardised features -> float32 y (batch, 5), logits
    calibration.npz   x: 512 jets of the training split
    evaluation.npz    x, y: 2,000 jets that neither training nor calibration saw

Needs scikit-learn (the extra `train`). Layers, epochs and penalty were fixed before the evaluation split was looked at.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from shower import FEATURES, KINDS, jets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
SEED = 20
TRAINING, CALIBRATION, EVALUATION = 12_000, 512, 2_000
HIDDEN = (32, 16, 16)
EPOCHS = 60
PENALTY = 1e-3

STEP, LARGEST = 2.0**-8, 8 - 2.0**-8
"""Features are handed out on the grid of a 12-bit number, as the front end of a trigger would."""


def made() -> tuple[np.ndarray, np.ndarray]:
    """As many jets of each kind, in random order: x (n, 16) float32, standardised by the training split; y (n,)."""
    random = np.random.default_rng(SEED)
    each = (TRAINING + EVALUATION) // len(KINDS)
    x = np.concatenate([jets(kind, each, random) for kind in range(len(KINDS))])
    y = np.repeat(np.arange(len(KINDS)), each)
    order = random.permutation(len(x))
    x, y = x[order], y[order]
    x = (x - x[:TRAINING].mean(axis=0)) / x[:TRAINING].std(axis=0)
    return np.clip(np.round(x / STEP) * STEP, -LARGEST, LARGEST).astype(np.float32), y


def to_onnx(network: MLPClassifier) -> onnx.ModelProto:
    """Gemm and Relu by turns; the softmax that training used is left out, which moves no decision."""
    nodes, constants, value = [], [], "x"
    count = len(network.coefs_)
    for index, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), start=1):
        name, last = f"dense{index}", index == count
        constants.append(numpy_helper.from_array(weight.T.astype(np.float32), f"{name}.weight"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))
        result = "y" if last else name
        nodes.append(helper.make_node("Gemm", [value, f"{name}.weight", f"{name}.bias"], [result], name=name, transB=1))
        value = result
        if not last:
            value = f"{name}.relu"
            nodes.append(helper.make_node("Relu", [result], [value], name=value))
    graph = helper.make_graph(
        nodes,
        "toy_jets",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", len(FEATURES)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", len(KINDS)])],
        constants,
    )
    opset = helper.make_opsetid("", 17)
    proto = helper.make_model(graph, producer_name="bitsmith", opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def main() -> None:
    """Simulate, train, write, and check the written model against the trained one."""
    x, y = made()
    network = MLPClassifier(HIDDEN, alpha=PENALTY, max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=SEED)
    with warnings.catch_warnings():
        # The number of epochs is fixed, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(x[:TRAINING], y[:TRAINING])
    proto = to_onnx(network)
    onnx.save(proto, HERE / "jets.onnx")
    np.savez_compressed(HERE / "calibration.npz", x=x[:CALIBRATION])
    np.savez_compressed(HERE / "evaluation.npz", x=x[TRAINING:], y=y[TRAINING:])

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["y"], {"x": x[TRAINING:]})
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    difference = float(np.abs(shares - network.predict_proba(x[TRAINING:])).max())
    if difference > 1e-4:
        raise SystemExit(f"jets.onnx differs from the trained model by {difference}: the export is wrong.")
    right = int((logits.argmax(axis=1) == y[TRAINING:]).sum())
    print("layers             ", " ".join(f"{a}x{b}" for a, b in pairwise((len(FEATURES), *HIDDEN, len(KINDS)))))
    print("parameters         ", sum(one.size for one in (*network.coefs_, *network.intercepts_)))
    print(f"training top-1      {network.score(x[:TRAINING], y[:TRAINING]):.4f} of {TRAINING}")
    print(f"largest difference of a probability, jets.onnx against the trained model: {difference:.1e}")
    print(f"evaluation top-1    {right} of {EVALUATION} = {right / EVALUATION:.4f}")


if __name__ == "__main__":
    main()
