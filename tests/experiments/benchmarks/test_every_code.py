"""Real networks under every exact code: what is counted, and that a wrong value is."""

import pytest

from experiments.benchmarks.every_code import CODES, differing, table
from experiments.conversion.convert import Task, carry_out
from neuro import trains


@pytest.fixture(scope="module")
def done():
    return carry_out(Task("digits-cnn", samples=3, levels=7))[0]


def test_the_exact_codes_are_all_there():
    assert CODES == ("unary", "bits", "naf", "ttfs", "graded", "sd-ternary", "sd-pow2", "sd-graded")


@pytest.mark.parametrize("code", CODES)
def test_all_values_of_a_network_are_held_against_the_integers(done, code):
    graph = done.converted.integer.graph
    neurons = sum(graph.size(name) for name in done.spiking.schedule.windows)
    assert differing(done, code) == (3 * (neurons + 10), 0)


def test_a_code_that_reads_its_spikes_wrong_is_seen(done, monkeypatch):
    right = trains.value
    monkeypatch.setattr(trains, "value", lambda spikes, code: right(spikes, code) // 2)
    assert differing(done, "bits")[1] > 0


def test_the_table():
    row = {"network": "folder/net.onnx", "items": 3, "checked": 90, "mismatches": 0}
    found = [row | {"code": code} for code in CODES[:-1]]
    found.append({"network": "folder/net.onnx", "items": 3, "code": CODES[-1], "refused": "no such neurons"})
    made = table(found)
    cells = [next(iter(column.cells)) for column in made.columns]
    assert cells == ["net.onnx", "3", *["0"] * (len(CODES) - 1), "refused", "90"]
