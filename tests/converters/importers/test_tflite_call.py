"""What an operator reads: streams, constants, lists of whole numbers."""

import numpy as np
import pytest

from converters.importers.layout import plain
from converters.importers.onnx_call import NotKnown, Refused
from converters.importers.tflite_call import Call, Held
from converters.importers.tflite_file import Operator, Tensor


def tensor(kind: str = "FLOAT32", data: np.ndarray | None = None, shape: tuple[int, ...] = (1, 2)) -> Tensor:
    stored = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
    none = np.zeros(0)
    return Tensor("t", shape, True, kind, stored, none.astype(np.float32), none.astype(np.int64), 0)


def call(*inputs: tuple[Tensor | None, Held | np.ndarray | None], kind: str = "ADD") -> Call:
    operator = Operator(kind, {}, tuple(range(len(inputs))), (9,))
    return Call(operator, "y", tuple(t for t, _ in inputs), tuple(v for _, v in inputs), tensor())


HELD = Held(plain("x", (2,)))
ONES = tensor(data=np.ones((1, 2), np.float32))


def test_batches():
    assert HELD.full == (1, 2)
    assert Held(plain("x", (2,)), False).full == (2,)


def test_inputs_that_depend_on_the_network():
    assert call((tensor(), HELD)).held() == HELD
    with pytest.raises(Refused, match="input 0 is a constant"):
        call((ONES, None)).held()
    with pytest.raises(NotKnown):
        call((tensor(), None)).held()
    with pytest.raises(ValueError, match="input 1 is missing"):
        call((tensor(), HELD)).held(1)
    ids = Held(plain("x", (2,)), ids=True)
    assert call((tensor(), ids), kind="RESHAPE").held() == ids
    with pytest.raises(Refused, match="only GATHER"):
        call((tensor(), ids)).held()


def test_constants():
    given = call((tensor(), HELD), (ONES, None), (tensor(), np.full(3, 2.0)), (None, None), (tensor(), None))
    first = given.constant(1)
    assert first is not None
    assert first.tolist() == [[1, 1]]
    computed = given.constant(2)
    assert computed is not None
    assert computed.tolist() == [2, 2, 2]
    assert given.constant(3) is None
    assert given.constant(7) is None
    with pytest.raises(NotKnown):
        given.constant(4)
    with pytest.raises(Refused, match="computed from the network's input"):
        given.constant(0)


def test_whole_numbers():
    axes = tensor("INT32", np.array([1, -2], np.int32), (2,))
    assert call((axes, None)).wholes(0) == [1, -2]
    with pytest.raises(ValueError, match="no list of whole numbers"):
        call((ONES, None)).wholes(0)
    many = tensor("INT32", np.zeros(65, np.int32), (65,))
    with pytest.raises(ValueError, match="a list of 65"):
        call((many, None)).wholes(0)
