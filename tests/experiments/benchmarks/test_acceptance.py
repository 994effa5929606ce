"""The acceptance benchmark: its interval, and a run on a network trained for two epochs."""

from experiments.benchmarks.acceptance import CNN, Row, small, table


def test_bounds_are_judged():
    row = Row("n", "m", 1.0, 0.5, 1.5, 1.0, 0.1)
    assert row.passed
    assert Row("n", "m", 1.1, 0.5, 1.5, 1.0, 0.1).passed is False
    assert Row("n", "m", 1.1, 0.5, 1.5, None, 0.1).passed is None
    assert table([row]).row_count == 1


def test_a_network_of_two_epochs_runs_exactly():
    (row,) = small("mlp", CNN[:1], 1, epochs=2)
    assert abs(row.drop) < 10
    assert row.events > 0
