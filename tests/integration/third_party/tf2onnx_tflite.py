"""Quantize small.onnx by TensorFlow Lite to int8 and bring it to ONNX by tf2onnx.

usage: python tflite.py, where tensorflow-cpu, tf2onnx and onnx are installed.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf

HERE = Path(__file__).parent


def network() -> tf.keras.Model:
    """The layers of small.onnx, channels last."""
    keras = tf.keras.layers
    x = tf.keras.Input((8, 8, 1), name="x")
    y = keras.Conv2D(16, 3, padding="same", activation="relu", name="stem")(x)
    y = keras.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = keras.ReLU(6.0)(y)
    y = keras.Conv2D(16, 1, name="pointwise")(y)
    y = keras.BatchNormalization(epsilon=1e-5, name="norm")(y)
    y = keras.ReLU()(y)
    pooled = keras.MaxPooling2D(2)(y)
    y = keras.Conv2D(16, 3, padding="same", name="residual")(pooled)
    y = keras.ReLU()(keras.Add()([pooled, y]))
    y = keras.Flatten()(keras.AveragePooling2D(2)(y))
    return tf.keras.Model(x, keras.Dense(10, name="classifier")(y))


def main() -> None:
    """Fill the layers, quantize, convert."""
    held = {one.name: numpy_helper.to_array(one) for one in onnx.load(HERE / "small.onnx").graph.initializer}
    model = network()
    for name in ("stem", "pointwise", "residual"):
        weight, bias = held[f"{name}.weight"], held[f"{name}.bias"]
        model.get_layer(name).set_weights([weight.transpose(2, 3, 1, 0), bias])
    weight = held["depthwise.weight"].transpose(2, 3, 0, 1)
    model.get_layer("depthwise").set_weights([weight, held["depthwise.bias"]])
    model.get_layer("norm").set_weights([held[f"norm.{one}"] for one in ("scale", "bias", "mean", "variance")])
    # A flattened image has its channels last here, and first there.
    weight = held["classifier.weight"].reshape(10, 16, 2, 2).transpose(2, 3, 1, 0).reshape(64, 10)
    model.get_layer("classifier").set_weights([weight, held["classifier.bias"]])

    samples = np.load(HERE.parents[2] / "models/digits/calibration.npz")["x"].transpose(0, 2, 3, 1)

    def representative() -> Iterator[list[np.ndarray]]:
        for sample in samples:
            yield [sample[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    for kind in ("float32", "int8"):
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
        name = "tf2onnx" if kind == "float32" else "tf2onnx_int8"
        with tempfile.TemporaryDirectory() as folder:
            # Where it ran stays in the file, so it runs beside its input.
            (Path(folder) / "small.tflite").write_bytes(converter.convert())
            command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", "small.tflite", "--opset", "17"]
            subprocess.run([*command, "--output", str(HERE / f"{name}.onnx")], check=True, cwd=folder)


if __name__ == "__main__":
    main()
