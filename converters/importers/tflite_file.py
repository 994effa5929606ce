"""Reading a TFLite file that nobody vouches for: every offset, count and size is checked before it is used.

The format is the flatbuffer schema of https://github.com/tensorflow/tensorflow/tree/master/tensorflow/lite/schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from converters.importers.onnx_call import Refused
from neuro.errors import BadInput
from neuro.file import content
from neuro.layers import Shape

COUNT_LIMIT = 2**15
"""Most tensors, operators, buffers and operator codes each."""
AXES_LIMIT = 8
"""Most axes of a tensor."""
TYPES = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "<i1", "UINT8": "<u1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8",
}  # fmt: skip
"""Element types whose values are read."""
RANGES = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}
"""Smallest and largest value of quantised activations."""
OPTIONS = {
    "CONV_2D": ("Conv2DOptions", "Padding StrideW StrideH DilationWFactor DilationHFactor FusedActivationFunction"),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions", "Padding StrideW StrideH DilationWFactor DilationHFactor FusedActivationFunction",
    ),
    "FULLY_CONNECTED": ("FullyConnectedOptions", "FusedActivationFunction WeightsFormat KeepNumDims"),
    "ADD": ("AddOptions", "FusedActivationFunction"),
    "SUB": ("SubOptions", "FusedActivationFunction"),
    "MUL": ("MulOptions", "FusedActivationFunction"),
    "DIV": ("DivOptions", "FusedActivationFunction"),
    "AVERAGE_POOL_2D": ("Pool2DOptions", "Padding StrideW StrideH FilterWidth FilterHeight FusedActivationFunction"),
    "MAX_POOL_2D": ("Pool2DOptions", "Padding StrideW StrideH FilterWidth FilterHeight FusedActivationFunction"),
    "RESHAPE": ("ReshapeOptions", "NewShapeAsNumpy"),
    "SQUEEZE": ("SqueezeOptions", "SqueezeDimsAsNumpy"),
    "SOFTMAX": ("SoftmaxOptions", "Beta"),
    "LEAKY_RELU": ("LeakyReluOptions", "Alpha"),
    "GELU": ("GeluOptions", "Approximate"),
    "CONCATENATION": ("ConcatenationOptions", "Axis FusedActivationFunction"),
    "MEAN": ("ReducerOptions", "KeepDims"),
    "GATHER": ("GatherOptions", "Axis BatchDims"),
}  # fmt: skip
"""For each operator with options their table in the schema, and its fields."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor. kind: its element type; data: the bytes of a constant, or None.

    shape: batch included; fixed: whether no size but the batch is open; scales, zeros: real = scale (q - zero), one
    or, along `axis`, one for each index; empty where it is not quantised.
    """

    name: str
    shape: Shape
    fixed: bool
    kind: str
    data: np.ndarray | None
    scales: np.ndarray
    zeros: np.ndarray
    axis: int

    @property
    def quantised(self) -> bool:
        """Whether its whole numbers stand for real ones."""
        return self.kind not in ("FLOAT32", "FLOAT16", "FLOAT64") and self.scales.size > 0

    def stored(self) -> np.ndarray:
        """A constant as it is stored.

        Raises:
            Refused: an element type that is not read.
            ValueError: its size does not fit its shape.
        """
        if self.kind not in TYPES:
            raise Refused(f"tensor {self.name!r} has elements of type {self.kind}")
        dtype = np.dtype(TYPES[self.kind])
        if self.data is None or prod(self.shape) * dtype.itemsize != len(self.data):
            raise ValueError(
                f"tensor {self.name!r} of {self.shape} does not hold {0 if self.data is None else len(self.data)} bytes"
            )
        return np.frombuffer(self.data.tobytes(), dtype).reshape(self.shape)

    def real(self) -> np.ndarray:
        """A constant's real values, computed in float64 and rounded once to float32; raises as `stored`."""
        values = self.stored()
        if not self.quantised:
            return values.astype(np.float32)
        if self.scales.size == 1:
            zero = self.zeros.ravel()[0] if self.zeros.size else 0
            return ((values.astype(np.float64) - float(zero)) * float(self.scales[0])).astype(np.float32)
        if not 0 <= self.axis < values.ndim or self.scales.size != values.shape[self.axis]:
            raise ValueError(f"{self.scales.size} scales do not fit axis {self.axis} of {values.shape}")
        column = (-1, *(1,) * (values.ndim - self.axis - 1))
        if self.zeros.size not in (0, 1, self.scales.size):
            raise ValueError(f"{self.zeros.size} zero points do not fit {self.scales.size} scales")
        zeros = np.broadcast_to(self.zeros if self.zeros.size else np.zeros(1), self.scales.shape)
        values = values.astype(np.float64) - zeros.astype(np.float64).reshape(column)
        return (values * self.scales.astype(np.float64).reshape(column)).astype(np.float32)

    def grid(self) -> tuple[float, float, float, float] | None:
        """Scale, zero point, lowest and highest number of a quantised activation; None for floats.

        Raises:
            Refused: an element type that is not computed, or a scale for each channel.
        """
        if not self.quantised:
            return None
        if self.kind not in RANGES or self.scales.size != 1:
            raise Refused(f"its result {self.name!r} is quantised as {self.kind} with {self.scales.size} scale(s)")
        low, high = RANGES[self.kind]
        zero = float(self.zeros.ravel()[0]) if self.zeros.size else 0.0
        return float(self.scales[0]), zero, float(low), float(high)


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: its kind, its options by their names in the schema, and its tensors' places (-1: left out)."""

    kind: str
    options: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A file's one network: its tensors, its operators in order, and the places of its one input and output."""

    file: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    output: int


def read(path: str | Path) -> Source:
    """The network in the file `path`.

    Raises:
        BadInput: the file is missing, damaged or too large, or has not one network with one input and output; or the
            package that knows the format is not installed.
    """
    path = Path(path)
    if find_spec("tflite") is None:
        raise BadInput(f"{path.name}: TFLite files are read with the package tflite; install neuro-verdict[formats].")
    data = content(path, "a .tflite file")
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise BadInput(f"{path.name} is not a TFLite file (schema 3); convert the network again.")
    try:
        return _source(path.name, data)
    except BadInput:
        raise
    except Exception as error:  # the reader's own for offsets that lead out of the file, of many kinds
        text = str(error).split("\n")[0][:120].rstrip(".") or type(error).__name__
        raise BadInput(f"{path.name} is damaged or cut short ({text}); copy or convert it again.") from None


def _source(file: str, data: bytes) -> Source:
    from tflite.Model import Model

    model: Any = Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise BadInput(f"{file} holds {model.SubgraphsLength()} subgraphs; only one, without control flow, is read.")
    graph = model.Subgraphs(0)
    counts = (model.BuffersLength(), model.OperatorCodesLength(), graph.TensorsLength(), graph.OperatorsLength())
    if max(counts) > COUNT_LIMIT:
        raise BadInput(f"{file} claims {max(counts)} parts, beyond the limit of {COUNT_LIMIT}; it is damaged.")
    for kind, count in (("inputs", graph.InputsLength()), ("outputs", graph.OutputsLength())):
        if count != 1:
            raise BadInput(f"{file} has {count} {kind}; exactly one is needed. Convert the network with one.")
    buffers = [_bytes(file, model.Buffers(i)) for i in range(counts[0])]
    budget = 16 * len(data)  # names may be shared, but not so that they fill the memory
    tensors = []
    for i in range(counts[2]):
        tensors.append(_tensor(file, graph.Tensors(i), buffers))
        budget -= len(tensors[-1].name)
        if budget < 0:
            raise BadInput(f"{file}: its tensors' names are longer than the file; it is damaged.")
    kinds = [_kind(model.OperatorCodes(i)) for i in range(counts[1])]
    operators = tuple(_operator(graph.Operators(i), kinds, len(tensors)) for i in range(counts[3]))
    ends = int(graph.Inputs(0)), int(graph.Outputs(0))
    if not all(0 <= e < len(tensors) for e in ends):
        raise BadInput(f"{file}: its input or output is tensor {max(ends)} of {len(tensors)}; it is damaged.")
    return Source(file, tuple(tensors), operators, *ends)


def _bytes(file: str, buffer: Any) -> np.ndarray | None:
    if buffer.Offset() > 1 or buffer.Size() > 1:
        raise BadInput(f"{file} keeps weights behind its flatbuffer, which is not read; convert it below 2 GiB.")
    return buffer.DataAsNumpy() if buffer.DataLength() else None


def _tensor(file: str, tensor: Any, buffers: list[np.ndarray | None]) -> Tensor:
    from tflite.TensorType import TensorType

    name = (tensor.Name() or b"").decode("utf-8", "replace")
    if max(tensor.ShapeLength(), tensor.ShapeSignatureLength()) > AXES_LIMIT:
        raise BadInput(f"{file}: tensor {name[:60]!r} claims {tensor.ShapeLength()} axes, more than {AXES_LIMIT}.")
    shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
    signature = tuple(int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength()))
    if any(n < 0 for n in shape):
        raise BadInput(f"{file}: tensor {name[:60]!r} has the shape {shape}; convert it with fixed sizes.")
    if tensor.Sparsity() is not None:
        raise BadInput(f"{file}: tensor {name[:60]!r} is stored sparsely, which is not read; store it densely.")
    kinds = {v: k for k, v in vars(TensorType).items() if isinstance(v, int)}
    fixed = all(n > 0 for n in signature[1:])
    scales, zeros, axis = _quantisation(file, name, tensor.Quantization())
    kind = kinds.get(tensor.Type(), "unknown")
    return Tensor(name, shape, fixed, kind, buffers[tensor.Buffer()], scales, zeros, axis)


def _quantisation(file: str, name: str, given: Any) -> tuple[np.ndarray, np.ndarray, int]:
    if given is None or not given.ScaleLength():
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scales = np.asarray(given.ScaleAsNumpy(), np.float32)
    zeros = np.asarray(given.ZeroPointAsNumpy() if given.ZeroPointLength() else [], np.int64)
    if given.Details() is not None or not (np.isfinite(scales).all() and (scales > 0).all()):
        raise BadInput(f"{file}: tensor {name[:60]!r} has scales that are no positive numbers; convert it again.")
    if np.abs(zeros).max(initial=0) > 2**31:
        raise BadInput(f"{file}: tensor {name[:60]!r} has zero points beyond 32 bits; it is damaged.")
    return scales, zeros, int(given.QuantizedDimension())


def _kind(code: Any) -> str:
    from tflite.BuiltinOperator import BuiltinOperator

    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == BuiltinOperator.CUSTOM:
        return f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')[:60]}"
    kinds = {v: k for k, v in vars(BuiltinOperator).items() if isinstance(v, int)}
    return kinds.get(number, f"number {number}")


def _operator(operator: Any, kinds: list[str], tensors: int) -> Operator:
    if operator.OpcodeIndex() >= len(kinds):
        raise ValueError(f"operator code {operator.OpcodeIndex()} of {len(kinds)}")
    kind = kinds[operator.OpcodeIndex()]
    if operator.InputsLength() > COUNT_LIMIT or operator.OutputsLength() > COUNT_LIMIT:
        raise ValueError(f"{kind} with {operator.InputsLength()} inputs")
    inputs = tuple(int(operator.Inputs(i)) for i in range(operator.InputsLength()))
    outputs = tuple(int(operator.Outputs(i)) for i in range(operator.OutputsLength()))
    if any(not -1 <= i < tensors for i in inputs) or any(not 0 <= o < tensors for o in outputs):
        raise ValueError(f"{kind} reads or writes tensors {inputs, outputs} of {tensors}")
    return Operator(kind, _options(operator, kind), inputs, outputs)


def _options(operator: Any, kind: str) -> dict[str, Any]:
    """The options' fields; empty where the operator has none."""
    from tflite.BuiltinOptions import BuiltinOptions

    if kind not in OPTIONS or operator.BuiltinOptionsType() == 0:
        return {}
    table, fields = OPTIONS[kind]
    given = operator.BuiltinOptions()
    if operator.BuiltinOptionsType() != getattr(BuiltinOptions, table) or given is None:
        raise ValueError(f"{kind} with options of type {operator.BuiltinOptionsType()}")
    options = getattr(import_module(f"tflite.{table}"), table)()
    options.Init(given.Bytes, given.Pos)
    found = {field.removesuffix("AsNumpy"): getattr(options, field)() for field in fields.split()}
    return {k: [int(n) for n in v[:AXES_LIMIT]] if isinstance(v, np.ndarray) else v for k, v in found.items()}
