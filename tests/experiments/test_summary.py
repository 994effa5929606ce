"""Bands and rows as plain data."""

import numpy as np

from experiments.summary import band


def test_band_by_hand():
    assert band(np.arange(101.0)) == {"p5": 5.0, "p50": 50.0, "p95": 95.0}
