"""W3 on the recurrent kernel against the exact solution of its equations."""

import numpy as np
import pytest

from experiments.benchmarks.peers import cuba, ours_w3
from neuro import native


@pytest.fixture
def workload(tmp_path):
    if native.kernels().library is None:
        pytest.skip(native.kernels().reason)
    cuba.save(cuba.draw(600, 0.05, 400), tmp_path / "W3-small.npz")
    return tmp_path / "W3-small.npz"


@pytest.mark.parametrize(("kind", "steps"), [("float64", 400), ("float32", 150)])
def test_the_spikes_are_those_of_the_equations(workload, kind, steps):
    """In float64 all of them; in float32 until a membrane meets the threshold within a rounding."""
    engine = ours_w3.prepare(workload, kind)
    engine()
    expected = np.zeros((400, 600), bool)
    for step, now in enumerate(cuba.spikes(cuba.load(workload))):
        expected[step, now] = True
    assert expected[:steps].sum() > 100
    np.testing.assert_array_equal(engine.spikes()[:steps], expected[:steps])
    assert engine.bytes_per_weight == {"float64": 8, "float32": 4}[kind]
    of_neuron, of_step = engine.counts()
    assert of_neuron.shape == (1, 600)
    assert of_step.shape == (1, cuba.CHECKED)


def test_without_kernels(workload, monkeypatch):
    monkeypatch.setattr(native, "kernels", lambda: native.Kernels(None, "none", "switched off"))
    with pytest.raises(NotImplementedError, match="switched off"):
        ours_w3.prepare(workload)
