"""Quantize small.onnx by Brevitas: QONNX with 8-bit activations and 4-bit weights, and QCDQ with 8 bits.

usage: python brevitas_qonnx.py, where brevitas, qonnx and onnx are installed.
"""

from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int32Bias, Uint8ActPerTensorFloat
from onnx import numpy_helper
from torch import nn

HERE = Path(__file__).parent


class Small(nn.Module):
    """The layers of small.onnx, whose normalization is folded into the convolution before it."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        weight = {"weight_quant": Int8WeightPerChannelFloat, "weight_bit_width": bits, "bias_quant": Int32Bias}
        relu = {"act_quant": Uint8ActPerTensorFloat, "return_quant_tensor": True}
        either = {"act_quant": Int8ActPerTensorFloat, "return_quant_tensor": True}
        self.input = qnn.QuantIdentity(**either)
        self.stem = qnn.QuantConv2d(1, 16, 3, padding=1, **weight)
        self.depthwise = qnn.QuantConv2d(16, 16, 3, padding=1, groups=16, **weight)
        self.pointwise = qnn.QuantConv2d(16, 16, 1, **weight)
        self.residual = qnn.QuantConv2d(16, 16, 3, padding=1, **weight)
        self.classifier = qnn.QuantLinear(64, 10, bias=True, **weight)
        self.relus = nn.ModuleList(qnn.QuantReLU(**relu) for _ in range(3))
        self.clipped = qnn.QuantReLU(**relu)
        self.added = qnn.QuantIdentity(**either)
        self.mean = qnn.QuantIdentity(**either)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relus[0](self.stem(self.input(x)))
        x = self.clipped(self.depthwise(x))
        x = self.relus[1](self.pointwise(x))
        x = nn.functional.max_pool2d(x, 2)
        x = self.relus[2](self.added(x) + self.added(self.residual(x)))
        x = self.mean(nn.functional.avg_pool2d(getattr(x, "value", x), 2))
        return self.classifier(x.flatten(1))


def filled(bits: int) -> Small:
    """The layers with the weights of small.onnx."""
    held = {one.name: numpy_helper.to_array(one) for one in onnx.load(HERE / "small.onnx").graph.initializer}
    factor = held["norm.scale"] / np.sqrt(held["norm.variance"] + 1e-5)
    held["pointwise.weight"] = held["pointwise.weight"] * factor[:, np.newaxis, np.newaxis, np.newaxis]
    held["pointwise.bias"] = (held["pointwise.bias"] - held["norm.mean"]) * factor + held["norm.bias"]
    network = Small(bits)
    with torch.no_grad():
        for name in ("stem", "depthwise", "pointwise", "residual", "classifier"):
            layer = getattr(network, name)
            layer.weight.copy_(torch.tensor(held[f"{name}.weight"]))
            layer.bias.copy_(torch.tensor(held[f"{name}.bias"]))
    return network.eval()


def main() -> None:
    """Calibrate on the digits and export."""
    samples = torch.tensor(np.load(HERE.parents[2] / "models/digits/calibration.npz")["x"])
    for bits, export, name in ((4, export_qonnx, "brevitas_qonnx"), (8, export_onnx_qcdq, "brevitas_qcdq")):
        network = filled(bits)
        with torch.no_grad():
            with calibration_mode(network):
                network(samples)
            with bias_correction_mode(network):
                network(samples)
            network(samples[:2])
            export(network, samples[:2], str(HERE / f"{name}.onnx"), dynamo=False)


if __name__ == "__main__":
    main()
