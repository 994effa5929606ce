"""Spikes that a value takes, by hand, and against runs that send them one by one."""

import numpy as np
import pytest

from converters.encode import encode
from experiments.benchmarks.code_spikes import Row, phase_codes, rows, spikes_of, table
from experiments.prepared import Asked
from experiments.run import run


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("unary", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bits", [0, 1, 1, 2, 1, 2, 2, 3]),
        ("naf", [0, 1, 1, 2, 1, 2, 2, 2]),  # 3 = 4 - 1, 5 = 4 + 1, 6 = 8 - 2, 7 = 8 - 1
        ("ttfs", [0, 1, 1, 1, 1, 1, 1, 1]),
        ("graded", [0, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_spikes_by_hand(code, want):
    assert spikes_of(code, 7).tolist() == want


@pytest.mark.parametrize("structure", [1, 6])
def test_what_is_read_off_is_what_is_sent(structure, random_network):
    """Networks with pools and sums: read-out, and spikes with and without the input, as a run sends them."""
    rng = np.random.default_rng(structure)
    graph = random_network(structure, rng, 7, 7)
    counts = rng.integers(0, 8, (6, 2, 6, 5))
    for code, (membranes, sends) in phase_codes(graph, counts).items():
        done = run(encode(graph, code), graph, counts, {}, lambda n: None)  # pyright: ignore
        assert done.mismatches == 0
        np.testing.assert_array_equal(membranes, done.outputs)
        assert sends.every == pytest.approx(done.spikes.mean() / done.neurons)
        inside = {k: v for k, v in done.by_layer.items() if k != "in"}
        assert sends.hidden == pytest.approx(sum(inside.values()) / sum(graph.size(k) for k in inside))


def test_rows_of_the_bundled_network():
    found = {r.code: r for r in rows(Asked("digits-cnn", samples=30), (7,), 10)}
    assert set(found) == {"unary", "bits", "naf", "ttfs", "graded", "sd-ternary", "sd-pow2", "sd-graded"}
    assert found["ttfs"].every < found["bits"].every < found["unary"].every
    assert found["ttfs"].drop == found["unary"].drop
    assert (found["ttfs"].items, found["sd-pow2"].items) == (30, 10)


def test_the_mark_is_a_star():
    row = Row("ttfs", 255, 7, 100, 0.1, 0.0, 0.2, 0.3, 0.5)
    more = Row("bits", 255, 7, 100, 0.1, 0.0, 0.2, 0.3, 0.51)
    printed = table([row, more, Row("naf", 255, 7, 100, 0.2, 0.0, 0.3, 0.1, 0.1)])
    assert list(printed.columns[-1].cells) == ["*", "", ""]
