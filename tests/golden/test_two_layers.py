"""A network of two layers, quantised, encoded and run on paper.

Float network (weights chosen so that nothing is lost): input x = n / 4 with n of 0..4, hidden ReLU(2 x + 0.5),
read-out 4 h - 1.

Fold. The weight takes the input's gain: 2 / 4 = 0.5 a count; offset 0.5. Read-out: weight 4, offset -1.

Calibrate on n = 0..4 twice, L = 5 levels: h = 0.5, 1, 1.5, 2, 2.5. The grid of clipping values ends at the largest,
2.5, with a unit of 0.5: every h is a multiple, the squared error is 0, and no smaller clipping value represents 2.5.
Both halves of the items have the same range, so that none is expected beyond it.

Quantise to 8 bits, full scale 127. Every fraction of the largest weight at or below one represents a single weight
without error as 127 only at the fraction one; finer grids clip. So s = 0.5 / 127, W = 127, th = unit / s = 127,
B = offset / unit x th = 127. Read-out: one count is 0.5, so the weight is 2, s = 2 / 127, W = 127,
B = -1 / s = -63.5, which NumPy rounds to the even -64.

Run. V = 127 n + 127 + floor(127 / 2), N = floor(V / 127) = n + 1, up to 5; output 127 N - 64.

    n      0    1    2    3    4
    V    190  317  444  571  698
    N      1    2    3    4    5
    out   63  190  317  444  571      times 2 / 127: 0.99, 2.99, 4.99, 6.99, 8.99 for 1, 3, 5, 7, 9

Spikes of n = 3 and N = 4. unary: input 1110, hidden 11110. bits: 4 levels and 5 levels take 3 bits: 011 and 100.
Schedule, unary: windows 0-3 and 4-8, ten steps; bits: 0-2 and 3-5, seven steps.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from converters.fold import fold
from converters.quantise import reference
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Relu, Threshold
from neuro.schedule import Window
from neuro.simulate import simulate

COUNTS = np.arange(5)[:, None]


@pytest.fixture(scope="module")
def integer() -> Graph:
    network = Graph(
        "paper",
        (
            Node("in", Input((1,))),
            Node("d", Dense(np.float32([[2]]), np.float32([0.5])), ("in",)),
            Node("r", Relu(), ("d",)),
            Node("e", Dense(np.float32([[4]]), np.float32([-1])), ("r",)),
        ),
    )
    folded = fold(network, np.array(0.25), np.array(0.0))
    quantised = reference(folded, np.tile(COUNTS, (2, 1)), 4, levels=5)
    np.testing.assert_allclose(quantised.scales["r"], 0.5, rtol=1e-6)
    return quantised.graph


def test_weights_thresholds_and_biases(integer):
    (hidden,) = (n for n in integer.nodes if isinstance(n.op, Threshold))
    first, second = (n.op for n in integer.nodes if isinstance(n.op, Dense))
    assert first.weight.tolist() == [[127]]
    assert second.weight.tolist() == [[127]]
    assert (hidden.op.threshold.tolist(), hidden.op.bias.tolist(), hidden.op.levels) == ([127], [127], 5)
    assert integer.output.op.offset.tolist() == [-64]


def test_values(integer):
    values = evaluate(integer, jnp.asarray(COUNTS, jnp.float32))
    assert values["r"].ravel().tolist() == [1, 2, 3, 4, 5]
    assert values[integer.output.name].ravel().tolist() == [63, 190, 317, 444, 571]


@pytest.mark.parametrize(
    ("code", "entering", "hidden", "windows", "total"),
    [
        ("unary", [1, 1, 1, 0], [1, 1, 1, 1, 0], (Window(0, 4), Window(4, 5)), 10),
        ("bits", [0, 1, 1], [1, 0, 0], (Window(0, 3), Window(3, 3)), 7),
    ],
)
def test_spikes(code, entering, hidden, windows, total, integer):
    spiking = encode(integer, code)
    run = simulate(spiking, jnp.asarray(COUNTS, jnp.float32))
    assert np.asarray(run.spikes["in"])[:, 3, 0].astype(int).tolist() == entering
    assert np.asarray(run.spikes["r"])[:, 3, 0].astype(int).tolist() == hidden
    assert run.output.ravel().tolist() == [63, 190, 317, 444, 571]
    assert (spiking.schedule.windows["in"], spiking.schedule.windows["r"]) == windows
    assert spiking.schedule.total == total
