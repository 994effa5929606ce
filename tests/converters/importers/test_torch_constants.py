"""Constants that a program computes, by hand."""

import numpy as np
import pytest

from converters.importers.chain import Refused
from converters.importers.torch_constants import computed

A = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("op", "arguments", "wanted"),
    [
        ("permute", {"self": A, "dims": [1, 0]}, A.T),
        ("t", {"self": A}, A.T),
        ("transpose", {"self": A, "dim0": 0, "dim1": -1}, A.T),
        ("view", {"self": A, "size": [3, 2]}, [[0, 1], [2, 3], [4, 5]]),
        ("select", {"self": A, "dim": 1, "index": 2}, [2, 5]),
        ("slice", {"self": A, "dim": 1, "start": 1, "end": 2**62}, [[1, 2], [4, 5]]),
        ("slice", {"self": A, "dim": -1, "start": 0, "end": 3, "step": 2}, [[0, 2], [3, 5]]),
        ("add", {"self": A, "other": 1}, A + 1),
        ("expand", {"self": A[:1], "size": [2, 3]}, [[0, 1, 2], [0, 1, 2]]),
        ("full", {"size": [2], "fill_value": 3}, [3, 3]),
        ("_weight_norm", {"v": np.float32([[3, 4]]), "g": np.float32([[10]])}, [[6, 8]]),  # |(3, 4)| = 5
    ],
)
def test_values(op, arguments, wanted):
    found = computed(op, arguments, np.shape(wanted))
    assert found.tolist() == np.asarray(wanted).tolist()
    assert found.dtype == np.float32


def test_shapes_that_a_file_states_wrongly_take_no_memory():
    """2^18 rows by 2^18 columns would be 256 GiB; the file says 2 x 3."""
    long = np.zeros((2**18, 1), np.float32)
    with pytest.raises(ValueError, match=r"shape \(262144, 262144\), where the file states \(2, 3\)"):
        computed("add", {"self": long, "other": long.T}, (2, 3))
    with pytest.raises(ValueError, match="where the file states"):
        computed("_weight_norm", {"v": long, "g": long.T}, (2**18, 1))


def test_refusals():
    with pytest.raises(Refused, match="limit"):
        computed("full", {"size": [2**40], "fill_value": 3}, (2**40,))
    with pytest.raises(Refused, match="this operator"):
        computed("from_file", {"filename": "secrets"}, (1,))
    with pytest.raises(Refused, match="this operator"):
        computed("add", {"self": A, "other": A, "alpha": 2}, (2, 3))
