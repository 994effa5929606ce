"""What a run reports: spikes of every population, the read-out, peaks, refusals. Exactness is in test_encode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Scale, Threshold
from neuro.simulate import simulate

ONE = np.ones(1, np.int64)


def line(weights: tuple[int, int], th: int, bias: int, levels: int, entering: int, offset: int) -> Graph:
    """in -> w0 -> neuron -> w1 -> read-out, one neuron each."""
    nodes = (
        Node("in", Input((1,), entering)),
        Node("a", Dense(np.array([[weights[0]]]), None), ("in",)),
        Node("n", Threshold(th * ONE, bias * ONE, levels), ("a",)),
        Node("b", Dense(np.array([[weights[1]]]), None), ("n",)),
        Node("out", Scale(ONE, offset * ONE), ("b",)),
    )
    return Graph("line", nodes)


def test_one_neuron_by_hand():
    """Count 5 of 7: V = 3 x 5 + 2 + floor(4/2) = 19, floor(19/4) = 4 spikes, output -2 x 4 + 9 = 1."""
    graph = line((3, -2), 4, 2, 7, 7, 9)
    unary = simulate(encode(graph, "unary"), jnp.asarray([[5.0]]))
    assert unary.spikes["in"].ravel().astype(int).tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert unary.spikes["n"].ravel().astype(int).tolist() == [1, 1, 1, 1, 0, 0, 0]
    bits = simulate(encode(graph, "bits"), jnp.asarray([[5.0]]))
    assert bits.spikes["in"].ravel().astype(int).tolist() == [1, 0, 1]
    assert bits.spikes["n"].ravel().astype(int).tolist() == [1, 0, 0]
    for run in (unary, bits):
        assert run.output.tolist() == [[1.0]]
        assert run.peak.tolist() == [0.0]


def test_rate_by_hand():
    """Count 2 of 4 for 6 steps: the input starts at 2, gains 2 a step and fires at 4: in steps 0, 2, 4. The neuron
    (current 3, bias 1, threshold 5) starts at 2: 6 fires, then 2, 6 fires, 2, 6 fires, 2. Read-out -1 x 3 + 6 x 2 = 9,
    which is the peak too."""
    graph = line((3, -1), 5, 1, 6, 4, 2)
    run = simulate(encode(graph, "rate", 6), jnp.asarray([[2.0]]))
    assert run.spikes["in"].ravel().astype(int).tolist() == [1, 0, 1, 0, 1, 0]
    assert run.spikes["n"].ravel().astype(int).tolist() == [1, 0, 1, 0, 1, 0]
    assert run.output.tolist() == [[9.0]]
    assert run.peak.tolist() == [9.0]


def test_a_network_without_schedule_is_refused():
    with pytest.raises(ValueError, match="line has no schedule; encode it first"):
        simulate(line((1, 1), 1, 0, 1, 1, 0), jnp.ones((1, 1)))


@pytest.mark.parametrize("code", ["unary", "bits"])
def test_samples_do_not_meet(code, random_network):
    """A batch gives what its samples give among copies of themselves, in any order."""
    spiking = encode(random_network(3, np.random.default_rng(3)), code)
    counts = jnp.asarray(np.random.default_rng(0).integers(0, 8, (4, 2, 6, 5)), jnp.float32)
    with jax.disable_jit():
        whole, turned = simulate(spiking, counts), simulate(spiking, counts[::-1])
        alone = simulate(spiking, counts[jnp.array([2, 2, 2, 2])])
    np.testing.assert_array_equal(whole.output, turned.output[::-1])
    np.testing.assert_array_equal(whole.output[2:3], alone.output[:1])
    for name, spikes in whole.spikes.items():
        np.testing.assert_array_equal(spikes, turned.spikes[name][:, ::-1])
        np.testing.assert_array_equal(spikes[:, 2:3], alone.spikes[name][:, :1])


def test_branches_of_unlike_windows_end_together():
    """in (2 bits) + n (3 bits) under bits: 1 x 3 + 1 x floor((3 + 0) / 1) = 6, not misaligned by a factor of two."""
    one = np.ones((1, 1, 1), np.int64)
    conv = Conv(np.ones((1, 1, 1, 1), np.int64), None, (1, 1), ((0, 0), (0, 0)))
    th = Threshold(one, 0 * one, 7)
    nodes = (
        Node("in", Input((1, 1, 1), 3)),
        Node("a", conv, ("in",)),
        Node("n", th, ("a",)),
        Node("sum", Add(), ("in", "n")),
        Node("m", th, ("sum",)),
        Node("b", conv, ("m",)),
        Node("out", Scale(one, 0 * one), ("b",)),
    )
    run = simulate(encode(Graph("skip", nodes), "bits"), jnp.full((1, 1, 1, 1), 3.0))
    assert run.spikes["m"].ravel().astype(int).tolist() == [1, 1, 0]
    assert float(run.output.ravel()[0]) == 6
