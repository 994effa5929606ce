import numpy as np
import pytest

from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.layers import Dense
from neuro.network import Network, Neurons, Projection
from neuro.recurrent import prepare
from neuro.recurrent import run as run_synapses
from neuro.stepped import Layer, Stepped, decisions, run, steps


def test_an_integrator_by_hand():
    """Weight 2, threshold 3, hard reset: 2, 4 (spike, 0), 2, 4 (spike); the read-out counts with weight -1."""
    net = Stepped("hand", "input", (1,), (
        Layer("w", ("input",), Dense(np.array([[2.0]]), None)),
        Layer("n", ("w",), None, Dynamics(3), (1,)),
        Layer("v", ("n",), Dense(np.array([[-1.0], [1.0]]), None)),
        Layer("out", ("v",), None, Dynamics(np.inf), (2,)),
    ))  # fmt: skip
    found = run(net, np.ones((1, 4, 1)))
    assert found["n"].tolist() == [[2.0]]
    assert found["out"].tolist() == [[-2.0, 2.0]]
    assert decisions(net, np.ones((1, 4, 1))).tolist() == [1]


def test_a_gain_scales_what_arrives():
    net = Stepped("gain", "input", (2,), (Layer("n", ("input",), None, Dynamics(np.inf), (2,), np.array([0.5, 2.0])),))
    assert run(net, np.ones((1, 3, 2)))["n"].tolist() == [[1.5, 6.0]]


def test_recurrent_spikes_are_those_of_the_synaptic_engine():
    """A loop takes one step; there every spike takes one, the input's too."""
    rng = np.random.default_rng(0)
    w, r = rng.integers(-3, 6, (9, 4)), rng.integers(-4, 4, (9, 9))
    model = Dynamics(7, decay=0.5, quantum=1, strict=True)
    net = Stepped("loop", "input", (4,), (
        Layer("w", ("input",), Dense(w, None)),
        Layer("n", ("w", "r"), None, model, (9,)),
        Layer("r", ("n",), Dense(r, None)),
        Layer("out", ("n",), None, Dynamics(np.inf), (9,)),
    ))  # fmt: skip
    frames = rng.random((3, 30, 4)) < 0.4
    spikes = np.stack([values["n"] for values in steps(net, frames.astype(float))], axis=1)
    pairs = [np.indices(m.shape)[::-1].reshape(2, -1) for m in (w, r)]
    synaptic = Network("loop", (Neurons("in", (4,)), Neurons("n", (9,), model)), (
        Projection("in", "n", *pairs[0], w.ravel()), Projection("n", "n", *pairs[1], r.ravel()),
    ))  # fmt: skip
    wanted = run_synapses(prepare(synaptic), {"in": np.pad(frames, ((0, 0), (0, 1), (0, 0)))}, 31).spikes["n"][:, 1:]
    assert spikes.sum() > 50
    np.testing.assert_array_equal(spikes, wanted)


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((), "must be one"),
        ((Layer("n", ("x",), None, Dynamics(1), (2,)),), "'x'"),
        ((Layer("n", (), None, Dynamics(1), (2,)),), "reads nothing"),
        ((Layer("n", ("input",), None, Dynamics(1), (3,)),), "gets values"),
        ((Layer("w", ("input",), Dense(np.ones((2, 3)), None)),), "does not fit"),
        ((Layer("a", ("b",), Dense(np.ones((2, 2)), None)), Layer("b", ("a",), Dense(np.ones((2, 2)), None))), "loop"),
        ((Layer("n", ("input",), None, Dynamics(1), (2,)),) * 2, "unique"),
    ],
)
def test_what_does_not_fit_is_refused(layers, told):
    with pytest.raises(BadInput, match=told):
        Stepped("bad", "input", (2,), layers)


def test_frames_of_another_shape_are_refused():
    net = Stepped("n", "input", (2,), (Layer("n", ("input",), None, Dynamics(1), (2,)),))
    with pytest.raises(BadInput, match=r"\(2,\)"):
        run(net, np.zeros((1, 2, 3)))
