"""The table of compression on one way and few items; the paired gain is what lies between the drops."""

import pytest

from experiments.benchmarks.compression import rows, table


def test_one_way_on_few_items():
    (row,) = rows("digits-cnn", 1, {"half": {"prune": 0.8}}, samples=120)
    assert row.way == "half"
    assert row.zeros == pytest.approx(0.8, abs=0.01)
    assert row.gain[0] == pytest.approx(row.plain[0] - row.tuned[0])
    assert row.gain[1] <= row.gain[0] <= row.gain[2]
    assert row.gain[0] > 5
    assert table([row]).row_count == 1
