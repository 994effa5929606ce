import numpy as np
import pytest

from experiments.datasets.arrays import Arrays
from experiments.datasets.data import from_arrays
from experiments.regression import errors
from neuro.errors import BadInput


def data(y, unit="metre"):
    x = np.arange(2 * len(y)).reshape(-1, 2)
    return from_arrays("d", Arrays(x, np.asarray(y), x, "", unit=unit))


def test_errors_by_hand():
    found = errors(np.array([1.0, 2.0, 5.0, 8.0]), data([1.0, 4.0, 5.0, 6.0]))
    assert found.mae.tolist() == [1.0]  # misses 0, -2, 0, 2
    assert found.rmse[0] == pytest.approx(2**0.5)
    assert found.r2[0] == pytest.approx(1 - 2 / 3.5)  # squares 9, 0, 1, 4 from the mean 4: variance 14 / 4
    assert repr(found) == "RMSE 1.414 metre, MAE 1 metre, R2 0.4286"


def test_outputs_apart():
    found = errors(np.array([[1, 5], [2, 5]]), data([[1.0, 5.0], [3.0, 5.0]], ""))
    assert found.mae.tolist() == [0.5, 0.0]
    assert found.r2[0] == pytest.approx(0.5)
    assert np.isnan(found.r2[1])
    assert "MAE 0.5, R2" in repr(found)


def test_what_cannot_be_compared():
    with pytest.raises(BadInput, match=r"shape \(3,\) for targets of shape \(2, 1\)"):
        errors(np.zeros(3), data([1.0, 2.0]))
    with pytest.raises(BadInput, match="no real targets"):
        errors(np.zeros(2), data([1, 2]))
