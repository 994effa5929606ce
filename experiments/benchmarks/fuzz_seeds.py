"""Small sound networks in the files of every format, from which `experiments.benchmarks.fuzz` makes damaged ones."""

import io
import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np


def seeds(kind: str, folder: Path | None = None) -> list[bytes]:
    """Files of a format, written by the framework it belongs to.

    kind: the ending; folder: of more such files, the only ones for formats that nothing here writes.
    """
    writers: dict[str, Callable[[], list[bytes]]] = {
        "onnx": _onnx, "pt2": _pt2, "h5": lambda: _keras("h5"), "keras": lambda: _keras("keras"), "nir": _nir,
        "net": _lava,
    }  # fmt: skip
    with (
        warnings.catch_warnings(),
        jax.numpy_rank_promotion("allow"),  # Keras needs JAX's own defaults
        jax.numpy_dtype_promotion("standard"),
    ):
        warnings.simplefilter("ignore")  # the frameworks' own
        made = writers[kind]() if kind in writers else []
    return made + [p.read_bytes() for p in sorted(folder.glob(f"*.{kind}"))] if folder else made


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def _onnx() -> list[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    def model(
        shape: list[int], outputs: int, nodes: list[Any], constants: dict[str, np.ndarray], opset: int = 13
    ) -> bytes:
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
            [numpy_helper.from_array(v, k) for k, v in constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return made.SerializeToString()

    node = helper.make_node
    dense = model(
        [3],
        2,
        [node("Gemm", ["x", "w", "b"], ["h"], "fc", transB=1), node("Relu", ["h"], ["y"])],
        {"w": _values(2, 3), "b": _values(2)},
    )
    residual = model(
        [2, 6, 6],
        3,
        [
            node("Conv", ["x", "k", "b"], ["c"], "conv", pads=[1] * 4),
            node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"], "norm"),
            node("Add", ["n", "x"], ["s"], "sum"),
            node("Clip", ["s", "low", "high"], ["r"], "clip"),
            node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Concat", ["p", "p"], ["j"], "join", axis=1),
            node("Reshape", ["j", "size"], ["f"], "flat"),
            node("MatMul", ["f", "w"], ["o"], "fc"),
            node("Softmax", ["o"], ["y"], "end", axis=1),
        ],
        {
            "k": _values(2, 2, 3, 3), "b": _values(2), "v": np.ones(2, np.float32), "low": np.array(0, np.float32),
            "high": np.array(6, np.float32), "size": np.array([1, -1]), "w": _values(36, 3),
        },
    )  # fmt: skip
    recurrent = model(
        [4, 3],
        2,
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("LSTM", ["t", "w", "r", "b"], ["", "h"], "lstm", hidden_size=2),
            node("Squeeze", ["h", "axes"], ["q"]),
            node("Gemm", ["q", "m"], ["y"], "fc"),
        ],
        {"w": _values(1, 8, 3), "r": _values(1, 8, 2), "b": _values(1, 16), "axes": np.array([0]), "m": _values(2, 3)},
    )
    quantised = model(
        [3],
        2,
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("DequantizeLinear", ["w", "s", "z"], ["e"]),
            node("MatMul", ["d", "e"], ["m"]),
            node("Relu", ["m"], ["y"]),
        ],
        {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "w": np.ones((3, 2), np.int8)},
        19,
    )
    computed = model(
        [4, 4],
        3,
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Concat", ["n", "rest"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["f"]),
            node("ConstantOfShape", ["wide"], ["c"], value=numpy_helper.from_array(np.ones(1, np.float32))),
            node("Expand", ["half", "wide"], ["e"]),
            node("Mul", ["c", "e"], ["g"]),
            node("MatMul", ["f", "g"], ["h"]),
            node("LeakyRelu", ["h"], ["l"], alpha=0.1),
            node("Slice", ["l", "zero", "two", "one"], ["y"]),
        ],
        {
            "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "rest": np.array([-1]),
            "wide": np.array([16, 3]), "half": np.array([0.5], np.float32),
        },
    )  # fmt: skip
    attending = model(
        [3, 4],
        4,
        [
            node("LayerNormalization", ["x", "g", "o"], ["n"], "norm", axis=-1),
            node("MatMul", ["n", "w"], ["q"], "query"),
            node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["q", "k"], ["a"], "scores"),
            node("Softmax", ["a"], ["p"], axis=-1),
            node("MatMul", ["p", "q"], ["m"], "mixed"),
            node("ReduceMean", ["m"], ["y"], axes=[1], keepdims=0),
        ],
        {"g": _values(4), "o": _values(4), "w": _values(4, 4)},
        17,
    )
    return [dense, residual, recurrent, quantised, computed, attending]


def _pt2() -> list[bytes]:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(36, 3)

        def forward(self, x: Any) -> Any:
            y = nn.functional.relu(self.norm(self.conv(x)) + x)
            return self.fc(torch.cat([nn.functional.max_pool2d(y, 2)] * 2, 1).flatten(1)).softmax(1)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.fc = nn.LSTM(3, 2, batch_first=True), nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(self.lstm(x)[0][:, -1])

    found = []
    dense = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid())
    one = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Hardtanh(), nn.AvgPool1d(2), nn.Flatten())
    for net, shape in ((dense, (3,)), (Residual(), (2, 6, 6)), (Recurrent(), (4, 3)), (one, (2, 8))):
        buffer = io.BytesIO()
        torch.export.save(torch.export.export(net.eval(), (torch.zeros(1, *shape),)), buffer)
        found.append(buffer.getvalue())
    return found


def _keras(ending: str) -> list[bytes]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras  # pyright: ignore[reportMissingImports]

    layers = keras.layers
    given = keras.Input((6, 6, 2), name="x")
    x = layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same")(given))
    x = layers.MaxPooling2D()(layers.ReLU(6.0)(layers.Add()([x, given])))
    x = layers.Flatten()(layers.Concatenate()([x, layers.DepthwiseConv2D(3, padding="same")(x)]))
    nets = [
        keras.Model(given, layers.Dense(3, activation="softmax")(x)),
        keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(2)]),
        keras.Sequential([keras.Input((4, 3)), layers.LSTM(2, return_sequences=True), layers.GRU(2)]),
        keras.Sequential([keras.Input((8, 2)), layers.Conv1D(3, 3, padding="causal"), layers.GlobalAveragePooling1D()]),
    ]
    found = []
    with TemporaryDirectory() as folder:
        for net in nets:
            path = Path(folder) / f"net.{ending}"
            net.save(path)
            found.append(path.read_bytes())
    return found


def _nir() -> list[bytes]:
    import nir

    one = np.ones(2, np.float32)
    image = np.ones((2, 4, 4), np.float32)
    chains = [
        ((2,), [nir.Affine(np.eye(2), one), nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one)], (2,)),
        (
            (1, 4, 4),
            [
                nir.Conv2d((4, 4), np.ones((2, 1, 3, 3)), 1, 1, 1, 1, one),
                nir.IF(r=image, v_threshold=image),
                nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1),
                nir.Linear(np.ones((2, 8))),
                nir.CubaLIF(one, one, one, 0 * one, one),
            ],
            (2,),
        ),
    ]
    found = []
    for first, inner, last in chains:
        names = ["input", *(f"n{i}" for i in range(len(inner))), "output"]
        ends = [nir.Input({"input": np.array(first)}), *inner, nir.Output({"output": np.array(last)})]
        buffer = io.BytesIO()
        graph = nir.NIRGraph(dict(zip(names, ends, strict=True)), list(pairwise(names)))
        nir.write(buffer, graph)  # pyright: ignore[reportArgumentType]
        found.append(buffer.getvalue())
    return found


def _lava() -> list[bytes]:
    import h5py

    buffer = io.BytesIO()
    pair = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    kinds = {
        "conv": {"weight": np.ones((3, 2, 3, 3)), "groups": 1, **pair}, "flatten": {},
        "dense": {"weight": np.ones((2, 48))},
    }  # fmt: skip
    with h5py.File(buffer, "w") as file:
        for number, (kind, values) in enumerate(kinds.items()):
            group = file.create_group(f"layer/{number}")
            group["type"] = np.array([kind.encode()], "S10")
            for key, value in values.items():
                group[key] = value
            if values:
                own = group.create_group("neuron")
                own["type"] = "CUBA"
                for key, value in {"iDecay": 1000, "vDecay": 300, "vThMant": 9, "refDelay": 1}.items():
                    own[key] = value
    return [buffer.getvalue()]
