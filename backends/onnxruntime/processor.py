"""Whether this processor adds uint8 x int8 products exactly, found out by trying.

x86 with AVX2 or AVX-512 but without VNNI adds pairs of such products in 16 bits, which saturate. ORT's session
option `session.x64quantprecision` makes it hold int8 weights as uint8 instead, whose kernels do not. It does so on
every x86, so that with VNNI the option costs half the speed and gains nothing: hence the trial.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bitsmith.execution import runtime

EXACT = ("session.x64quantprecision", "1")
DEPTH = 64


@cache
def saturates() -> bool:
    """Whether ORT gets a product of a row of 255s and a column of 127s wrong here."""
    weight = np.full((DEPTH, 16), 127, dtype=np.int8)
    body = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weight"], ["y"])],
        "trial",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 16])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((4, DEPTH), 255, dtype=np.uint8)})
    return not np.all(found == DEPTH * 255 * 127)


def session_options(threads: int = 0) -> Any:
    """Options for any session on the model: those of bitsmith's own sessions, and exact on this processor."""
    options = runtime.session_options(threads)
    if saturates():
        options.add_session_config_entry(*EXACT)
    return options
