"""Labelled arrays, built by hand."""

import numpy as np

from experiments.records.record_array import labelled, number, whole


def test_only_whole_numbers_become_integers():
    assert whole(np.float32([0, 3, 2**24])).dtype == np.int64
    assert whole(np.float32([0, 3, 2**24])).tolist() == [0, 3, 2**24]
    assert whole(np.array([0.5, 3.0])).dtype == np.float64


def test_a_column_of_the_axis_name_is_its_coordinate():
    table = labelled("core", core=(["a", "b"], "core"), used=(np.array([1, 2]), "use"))
    assert list(table.coords) == ["core"]
    assert table["used"].sel(core="b").item() == 2
    assert table["used"].attrs == {"units": "1", "long_name": "use"}


def test_what_is_unknown_is_no_number():
    assert np.isnan(number(None))
    assert number(0.0) == 0.0
