"""A recurrent network of current-based leaky neurons in a chip's fixed point, on the kernel and in Brian2."""

import numpy as np
import pytest

from converters.to_brian2 import to_brian2
from neuro.dynamics import Dynamics
from neuro.network import Network, Neurons, Projection
from neuro.recurrent import prepare, run

STEPS, SIZE, EXCITES = 1500, 300, 240

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


def network(rng: np.random.Generator) -> Network:
    """The constants of W3 (20 ms; 5 and 10 ms; 5 ms refractory) in parts of 4096, two receptors, a delay of one step:
    64,000 units are 1 mV, rest is 11 mV above the reset and 1 mV above the threshold."""
    decay, excited, inhibited = (round(4096 * np.exp(-0.1 / tau)) / 4096 for tau in (20, 5, 10))
    model = Dynamics(
        640_000.0,
        bias=3511.0,
        decay=decay,
        current_decay=(excited, inhibited),
        strict=True,
        refractory=50,
        quantum=1,
        start=rng.integers(0, 640_000, SIZE).astype(float),
    )
    pre, post = np.nonzero(rng.random((SIZE, SIZE)) < 0.1)
    excites = pre < EXCITES
    projections = tuple(
        Projection("cells", "cells", pre[of], post[of], np.full(of.sum(), weight), 1, receptor)
        for receptor, (of, weight) in enumerate(((excites, 1400), (~excites, -7600)))
    )
    return Network("current-based", (Neurons("cells", (SIZE,), model),), projections)


def test_fixed_point_is_equal_to_the_last_step():
    brian2 = pytest.importorskip("brian2")
    brian2.prefs.codegen.target = "numpy"
    cells = network(np.random.default_rng(5))
    program = prepare(cells)
    assert program.kind == "fixed"
    found = run(program, {}, STEPS)
    theirs = to_brian2(cells, {})
    expected = theirs.run(STEPS)["cells"]
    assert 0.0002 < expected.mean() < 0.02
    np.testing.assert_array_equal(found.spikes["cells"], expected)
    np.testing.assert_array_equal(found.membranes["cells"], theirs.groups["cells"].v)
