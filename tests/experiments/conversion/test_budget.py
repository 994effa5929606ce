"""Levels by budget: bounds against closed forms, and the choice on a small network."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.conversion import budget
from experiments.prepared import Prepared
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input

NETWORK = Graph("n", (Node("in", Input((2,))), Node("d", Dense(np.eye(2), None), ("in",))))


def test_no_change_among_n_items_leaves_a_bound_in_closed_form():
    """(1 - p)^n = 1 - confidence."""
    outputs = np.eye(2)[np.arange(100) % 2]
    assert budget.changed_share(NETWORK, outputs, outputs) == pytest.approx(100 * (1 - 0.2**0.01))
    assert budget.changed_share(NETWORK, outputs, outputs[::-1]) == 100


def test_the_mean_change_of_real_outputs():
    wanted = np.zeros((4, 1))
    assert budget.mean_change(wanted, wanted + 2) == pytest.approx(2)
    assert budget.mean_change(wanted, np.array([[1.0], [3.0], [1.0], [3.0]])) > 2


@pytest.mark.parametrize(("needed", "levels", "within"), [(15, 15, True), (1, 1, True), (999, 255, False)])
def test_the_fewest_levels_within_the_budget(monkeypatch, needed, levels, within):
    def form(levels):
        return SimpleNamespace(graph=levels)

    counts = np.zeros((40, 2), np.int32)
    data = SimpleNamespace(
        calibration_counts=counts, x_calibration=counts, calibration_input=counts, levels=1, targets=None, unit=""
    )
    monkeypatch.setattr(budget.quantise, "reference", lambda folded, c, i, levels, bits: form(levels))
    monkeypatch.setattr(budget, "real", lambda network, form, values: values)
    monkeypatch.setattr(budget, "outputs", lambda graph, x: graph)
    monkeypatch.setattr(budget, "changed_share", lambda network, wanted, got: 0.5 if got >= needed else 9.0)
    source = Prepared.__new__(Prepared)
    object.__setattr__(source, "dataset", data)
    object.__setattr__(source, "network", NETWORK)
    chosen = budget.choose(source, NETWORK, 1.0, 8)
    assert (chosen.levels, chosen.within) == (levels, within)
