"""Small TFLite files, written with the schema's own builder."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

KINDS = {"f4": "FLOAT32", "f2": "FLOAT16", "i1": "INT8", "u1": "UINT8", "i2": "INT16", "i4": "INT32", "i8": "INT64"}


def _table(name: str) -> Any:
    return importlib.import_module(f"tflite.{name}")


def _vector(b: Any, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _tensor(b: Any, name: str, given: dict, buffer: int) -> int:
    label, shape = b.CreateString(name), b.CreateNumpyVector(np.array(given["shape"], np.int32))
    signature = b.CreateNumpyVector(np.array(given["signature"], np.int32)) if "signature" in given else None
    quantisation = None
    if "scale" in given:
        scale = np.atleast_1d(np.array(given["scale"], np.float32))
        scales = b.CreateNumpyVector(scale)
        zeros = b.CreateNumpyVector(np.broadcast_to(np.array(given.get("zero", 0), np.int64), scale.shape).copy())
        _table("QuantizationParameters").Start(b)
        _table("QuantizationParameters").AddScale(b, scales)
        _table("QuantizationParameters").AddZeroPoint(b, zeros)
        _table("QuantizationParameters").AddQuantizedDimension(b, given.get("axis", 0))
        quantisation = _table("QuantizationParameters").End(b)
    _table("Tensor").Start(b)
    _table("Tensor").AddShape(b, shape)
    _table("Tensor").AddType(b, getattr(_table("TensorType").TensorType, given.get("type") or KINDS[given["kind"]]))
    _table("Tensor").AddBuffer(b, buffer)
    _table("Tensor").AddName(b, label)
    if signature is not None:
        _table("Tensor").AddShapeSignature(b, signature)
    if quantisation is not None:
        _table("Tensor").AddQuantization(b, quantisation)
    return _table("Tensor").End(b)


def _operator(b: Any, code: int, inputs: list[int], outputs: list[int], table: str, options: dict) -> int:
    ins, outs = (b.CreateNumpyVector(np.array(v, np.int32)) for v in (inputs, outputs))
    written = None
    if table:
        module = _table(table)
        fields = {
            k: b.CreateNumpyVector(np.array(v, np.int32)) if isinstance(v, list) else v for k, v in options.items()
        }
        module.Start(b)
        for field, value in fields.items():
            getattr(module, f"Add{field}")(b, value)
        written = module.End(b)
    _table("Operator").Start(b)
    _table("Operator").AddOpcodeIndex(b, code)
    _table("Operator").AddInputs(b, ins)
    _table("Operator").AddOutputs(b, outs)
    if written is not None:
        _table("Operator").AddBuiltinOptionsType(b, getattr(_table("BuiltinOptions").BuiltinOptions, table))
        _table("Operator").AddBuiltinOptions(b, written)
    return _table("Operator").End(b)


def _buffer(b: Any, data: bytes) -> int:
    stored = b.CreateByteVector(data) if data else None
    _table("Buffer").Start(b)
    if stored is not None:
        _table("Buffer").AddData(b, stored)
    return _table("Buffer").End(b)


def _code(b: Any, kind: str) -> int:
    number = getattr(_table("BuiltinOperator").BuiltinOperator, kind.split()[0])
    custom = b.CreateString(kind.split()[1]) if " " in kind else None
    _table("OperatorCode").Start(b)
    _table("OperatorCode").AddDeprecatedBuiltinCode(b, min(number, 127))
    _table("OperatorCode").AddBuiltinCode(b, number)
    _table("OperatorCode").AddVersion(b, 1)
    if custom is not None:
        _table("OperatorCode").AddCustomCode(b, custom)
    return _table("OperatorCode").End(b)


def _model(tensors: dict[str, dict], operators: list[tuple], inputs: list[str], outputs: list[str]) -> bytes:
    import flatbuffers

    b = flatbuffers.Builder(1024)
    place = {name: i for i, name in enumerate(tensors)} | {"": -1}
    data = [np.ascontiguousarray(t["data"]).tobytes() if "data" in t else b"" for t in tensors.values()]
    buffers = _vector(b, [_buffer(b, d) for d in [b"", *data]])
    rows = _vector(b, [_tensor(b, n, t, i + 1) for i, (n, t) in enumerate(tensors.items())])
    kinds = list(dict.fromkeys(o[0] for o in operators))
    codes = _vector(b, [_code(b, k) for k in kinds])
    steps = []
    for kind, reads, writes, *options in operators:
        table, fields = options or ("", {})
        steps.append(
            _operator(b, kinds.index(kind), [place[i] for i in reads], [place[o] for o in writes], table, fields)
        )
    steps = _vector(b, steps)
    ins, outs = (b.CreateNumpyVector(np.array([place[i] for i in v], np.int32)) for v in (inputs, outputs))
    _table("SubGraph").Start(b)
    _table("SubGraph").AddTensors(b, rows)
    _table("SubGraph").AddInputs(b, ins)
    _table("SubGraph").AddOutputs(b, outs)
    _table("SubGraph").AddOperators(b, steps)
    graphs = _vector(b, [_table("SubGraph").End(b)])
    _table("Model").Start(b)
    _table("Model").AddVersion(b, 3)
    _table("Model").AddOperatorCodes(b, codes)
    _table("Model").AddSubgraphs(b, graphs)
    _table("Model").AddBuffers(b, buffers)
    b.Finish(_table("Model").End(b), b"TFL3")
    return bytes(b.Output())


@pytest.fixture(scope="session")
def tflite_model() -> Callable[..., bytes]:
    """A function from (tensors, operators, inputs, outputs) to the bytes of a TFLite file.

    tensors: by name their ``shape``, ``kind`` (NumPy's, or ``type``), and if need be ``data``, ``scale``, ``zero``,
    ``axis`` and ``signature``; operators: (kind, inputs, outputs) and, with options, their table and its fields.
    """
    pytest.importorskip("tflite")
    return _model
