"""Networks in Brian2: every feature of the neurons, spike by spike and membrane by membrane."""

import numpy as np
import pytest

from converters.to_brian2 import to_brian2
from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection
from neuro.trace import simulate

STEPS = 300

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


def model(rng: np.random.Generator, size: int, **fixed) -> Dynamics:
    """Neurons of whole numbers, truncated, of whatever kind."""
    receptors = (rng.integers(0, 7) / 8, rng.integers(0, 7, size) / 8)
    drawn = {
        "threshold": rng.integers(5, 40, size),
        "bias": rng.integers(-2, 5, size),
        "decay": rng.integers(4, 9) / 8,
        "current_decay": receptors[: rng.integers(1, 3)],
        "refractory": rng.integers(0, 4, size),
        "quantum": rng.choice([1.0, 0.25]),
        "saturation": float(rng.choice([30, 1000, np.inf])),
        "adaptation": rng.integers(0, 6, size),
        "adaptation_decay": rng.integers(4, 8) / 8,
        "start": rng.integers(-9, 9, size),
    }
    return Dynamics(**drawn | fixed)


def network(rng: np.random.Generator, **fixed) -> Network:
    """8 inputs, 12 and 9 neurons, recurrent, with delays up to 3 steps."""
    models = {"in": None, "a": model(rng, 12, **fixed), "b": model(rng, 9, **fixed)}
    sizes = {"in": 8, "a": 12, "b": 9}
    projections = []
    for source, target in (("in", "a"), ("in", "b"), ("a", "a"), ("a", "b"), ("b", "a"), ("in", "a")):
        pre, post = rng.integers(0, sizes[source], 40), rng.integers(0, sizes[target], 40)
        reached = models[target]
        assert reached is not None
        delay, receptor = int(rng.integers(0, 4)), int(rng.integers(0, reached.receptors))
        projections.append(Projection(source, target, pre, post, rng.integers(-6, 13, 40), delay, receptor))
    populations = tuple(Neurons(name, (sizes[name],), models[name]) for name in sizes)
    return Network("random", populations, tuple(projections))


@pytest.mark.parametrize("adapts", ["threshold", "current"])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_every_spike_and_membrane_is_that_of_brian2(reset, strict, adapts):
    brian2 = pytest.importorskip("brian2")
    brian2.prefs.codegen.target = "numpy"
    rng = np.random.default_rng([len(reset), strict, len(adapts), reset == "soft"])
    net = network(rng, reset=reset, strict=strict, adapts=adapts)
    train = rng.random((STEPS, 8)) < 0.2
    ours = simulate(net, {"in": train}, STEPS)
    there = to_brian2(net, {"in": train})
    spikes = there.run(STEPS)
    for name, expected in ours.spikes.items():
        np.testing.assert_array_equal(spikes[name], expected, err_msg=name)
        assert 0.02 < expected.mean() < 0.6
    for name, membrane in ours.membranes.items():
        np.testing.assert_array_equal(np.asarray(there.groups[name].v), membrane)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"spike trains for \[\]; missing or unknown: \['in'\]"),
        ({"in": np.zeros((2, 5, 8), bool)}, r"axes \(2, 5, 8\); Brian2 runs one sample"),
    ],
)
def test_refusals(inputs, message):
    pytest.importorskip("brian2")
    with pytest.raises(BadInput, match=message):
        to_brian2(network(np.random.default_rng(0)), inputs)
