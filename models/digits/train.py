"""Train a small CNN on scikit-learn's handwritten digits and write it as float32 ONNX, with its data.

Writes beside this file:

    digits.onnx       float32 x (batch, 1, 8, 8) in [0, 1] -> float32 y (batch, 10), logits
    calibration.npz   x: 256 samples of the training split
    evaluation.npz    x, y: 600 samples that neither training nor calibration saw

Needs PyTorch and scikit-learn (the extra `train`). No choice was made by looking at the evaluation split:
epochs and learning rate were fixed first, and the accuracy printed last is that of the only model trained.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
SEED = 20
EVALUATION_SAMPLES = 600
CALIBRATION_SAMPLES = 256
EPOCHS = 80
BATCH = 64


class ConvNorm(nn.Module):
    """A bias-free 3x3 or 1x1 convolution that keeps height and width, then batch normalization."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Digits(nn.Module):
    """One of each thing a compiler must get right: dense, depthwise and pointwise convolution, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, 16, kernel=3)
        self.depthwise = ConvNorm(16, 16, kernel=3, groups=16)
        self.pointwise = ConvNorm(16, 32, kernel=1)
        self.residual1 = ConvNorm(32, 32, kernel=3)
        self.residual2 = ConvNorm(32, 32, kernel=3)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = self.depthwise(x).relu()
        x = self.pointwise(x).relu()
        x = nn.functional.max_pool2d(x, 2)
        x = (x + self.residual2(self.residual1(x).relu())).relu()
        return self.classifier(x.mean(dim=(2, 3)))


class Writer:
    """Collects ONNX nodes and initializers; each method returns the name of the value it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, tensor: torch.Tensor) -> str:
        self.initializers.append(numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    def conv_norm(self, name: str, x: str, layer: ConvNorm) -> str:
        kernel = layer.conv.kernel_size[0]
        weight = self.constant(f"{name}.weight", layer.conv.weight)
        x = self.node(
            "Conv",
            f"{name}.conv",
            [x, weight],
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4,
            group=layer.conv.groups,
        )
        norm = layer.norm
        parameters = {
            "scale": norm.weight,
            "bias": norm.bias,
            "mean": norm.running_mean,
            "variance": norm.running_var,
        }
        names = [self.constant(f"{name}.norm.{key}", value) for key, value in parameters.items()]
        return self.node("BatchNormalization", f"{name}.norm", [x, *names], epsilon=norm.eps)


def to_onnx(model: Digits) -> onnx.ModelProto:
    """Write the model as it was trained, batch normalization unfolded: folding is the compiler's work."""
    w = Writer()
    x = w.node("Relu", "stem.relu", [w.conv_norm("stem", "x", model.stem)])
    x = w.node("Relu", "depthwise.relu", [w.conv_norm("depthwise", x, model.depthwise)])
    x = w.node("Relu", "pointwise.relu", [w.conv_norm("pointwise", x, model.pointwise)])
    shortcut = w.node("MaxPool", "pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = w.node("Relu", "residual1.relu", [w.conv_norm("residual1", shortcut, model.residual1)])
    x = w.conv_norm("residual2", x, model.residual2)
    x = w.node("Add", "residual.add", [shortcut, x])
    x = w.node("Relu", "residual.relu", [x])
    x = w.node("GlobalAveragePool", "average", [x])
    x = w.node("Flatten", "flatten", [x], axis=1)
    weight = w.constant("classifier.weight", model.classifier.weight)
    bias = w.constant("classifier.bias", model.classifier.bias)
    w.nodes.append(helper.make_node("Gemm", [x, weight, bias], ["y"], name="classifier", transB=1))
    graph = helper.make_graph(
        w.nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        w.initializers,
    )
    opset = helper.make_opsetid("", 17)
    proto = helper.make_model(graph, producer_name="bitsmith", opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def splits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training x, y and evaluation x, y, the classes in the same proportion in both; x in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train_x, evaluation_x, train_y, evaluation_y = train_test_split(
        x, labels.astype(np.int64), test_size=EVALUATION_SAMPLES, stratify=labels, random_state=SEED
    )
    seen = {sample.tobytes() for sample in train_x}
    if any(sample.tobytes() in seen for sample in evaluation_x):
        raise SystemExit("An evaluation sample is also in the training split: choose another seed.")
    return train_x, train_y, evaluation_x, evaluation_y


def shifted(x: torch.Tensor) -> torch.Tensor:
    """Move each image by up to one pixel each way, filling with background."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    rows, columns = torch.randint(0, 3, (2, len(x))).tolist()
    return torch.stack(
        [image[:, row : row + 8, column : column + 8] for image, row, column in zip(padded, rows, columns, strict=True)]
    )


def train(x: np.ndarray, y: np.ndarray) -> Digits:
    """Train for a fixed number of epochs with AdamW and a one-cycle learning rate."""
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = Digits()
    steps = len(images) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(images))[: steps * BATCH].view(steps, BATCH):
            logits = model(shifted(images[chosen]))
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  training loss {total / steps:.4f}")
    return model.eval()


def main() -> None:
    """Train, write, and check the written model against the trained one."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_x, train_y, evaluation_x, evaluation_y = splits()
    model = train(train_x, train_y)
    proto = to_onnx(model)

    onnx.save(proto, HERE / "digits.onnx")
    np.savez_compressed(HERE / "calibration.npz", x=train_x[:CALIBRATION_SAMPLES])
    np.savez_compressed(HERE / "evaluation.npz", x=evaluation_x, y=evaluation_y)

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (written,) = session.run(["y"], {"x": evaluation_x})
    with torch.no_grad():
        trained = model(torch.from_numpy(evaluation_x)).numpy()
    difference = float(np.abs(written - trained).max())
    if difference > 1e-4:
        raise SystemExit(f"digits.onnx differs from the trained model by {difference}: the export is wrong.")
    correct = int((written.argmax(axis=1) == evaluation_y).sum())
    print(f"parameters          {sum(p.numel() for p in model.parameters())}")
    print(f"training samples    {len(train_x)}, of which calibration {CALIBRATION_SAMPLES}")
    print(f"digits.onnx against the trained model, largest difference of a logit: {difference:.1e}")
    print(f"evaluation top-1    {correct} of {len(evaluation_y)} = {correct / len(evaluation_y):.4f}")


if __name__ == "__main__":
    main()
