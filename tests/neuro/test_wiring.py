"""What mapping knows of a layer, against its synapses written out one by one."""

from dataclasses import replace

import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import Realisation
from neuro.chip import load
from neuro.dynamics import Dynamics
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, MaxPool, Reshape, Scale, Threshold
from neuro.network import Network, Neurons, Projection
from neuro.stages import populations
from neuro.synapses import unroll
from neuro.wiring import as_stored, of_graph, of_network

CHIP = load("loihi2")
WAY = Realisation("gadget", compartments=2, membranes=2, clock=1, clock_bias=2)


@pytest.mark.parametrize("structure", range(6))
def test_layers_are_those_of_the_synapses(structure, random_network):
    """Size, sources, largest fan-in, most axons and widest weight of every layer; slots of membranes and pools."""
    graph = encode(random_network(structure, np.random.default_rng(structure), 3, 4), "unary")
    network, wiring = unroll(as_stored(graph, CHIP)), of_graph(graph, CHIP, WAY)
    assert [layer.name for layer in wiring.layers] == [p.name for p in network.populations]
    assert wiring.neurons == sum(p.size for p in network.populations)
    assert (wiring.inputs, wiring.outputs) == (graph.size("in"), 4)
    for node in populations(graph):
        layer = wiring[node.name]
        onto = [p for p in network.projections if p.target == node.name]
        assert (layer.size, layer.shape) == (graph.size(node.name), graph.shapes[node.name])
        assert set(layer.sources) == {p.source for p in onto}
        pools = isinstance(node.op, MaxPool)
        assert (layer.compartments, layer.slots) == ((1, 1) if pools else (2, 4))
        assert layer.gated == isinstance(node.op, Threshold)
        synapses = sum((np.bincount(p.post, minlength=layer.size) for p in onto), np.zeros(layer.size, int))
        heard = sum(
            (np.bincount(np.unique(np.stack([p.pre, p.post]), axis=1)[1], minlength=layer.size) for p in onto),
            np.zeros(layer.size, int),
        )
        if not pools:  # a window counts whole, also where it hangs over the edge
            assert layer.fan_in == synapses.max()
            assert heard.max() <= layer.hears <= synapses.max()
        assert layer.fan_in >= synapses.max()
        if isinstance(node.op, Threshold):
            want = np.broadcast_to(node.op.threshold, layer.shape).reshape(-1)
            np.testing.assert_array_equal(layer.thresholds, want)


def test_how_synapses_are_stored(tiny_network, random_network):
    """Two thirds of the weights of both layers are there: rows without indices. Behind a convolution: kernels."""
    wiring = of_graph(encode(tiny_network, "unary"), CHIP, WAY)
    assert [layer.format for layer in wiring.layers] == ["sparse", "dense", "dense"]
    assert [layer.weight_bits for layer in wiring.layers] == [0, 2, 2]  # one bit and a sign
    assert [layer.kernel for layer in wiring.layers] == [0, 0, 0]
    convolved = of_graph(encode(random_network(1, np.random.default_rng(1), 3, 4), "bits"), CHIP, WAY)
    assert "conv" in {layer.format for layer in convolved.layers}
    assert 3 in {layer.kernel for layer in convolved.layers}  # that of the convolution; pools have windows of their own


def test_zeros_are_stored_where_nothing_says_which_weight_stands_where():
    """A kernel with one zero of four, a dense layer with one of six and one with four of six: the first two keep their
    zeros, but for a chip that writes kernels out row by row; the third has indices."""
    kernel, most, few = (
        np.array([[[[1, 0], [2, 3]]]]),
        np.array([[1, 0, 2], [3, 4, 5]]),
        np.array([[1, 0], [0, 2], [0, 0]]),
    )
    one = np.ones(1, np.int64)
    nodes = (
        Node("in", Input((1, 2, 4), 3)),
        Node("k", Conv(kernel, None, (1, 1), ((0, 0), (0, 0))), ("in",)),
        Node("c", Threshold(one, 0 * one, 3), ("k",)),
        Node("flat", Reshape((3,)), ("c",)),
        Node("m", Dense(most, None), ("flat",)),
        Node("d", Threshold(one, 0 * one, 3), ("m",)),
        Node("f", Dense(few, None), ("d",)),
        Node("out", Scale(np.ones(3, np.int64), np.zeros(3, np.int64)), ("f",)),
    )
    graph = encode(Graph("zeros", nodes), "rate", 4)
    for chip, kernels in (("loihi2", 4), ("loihi1", 3)):
        wiring = of_graph(graph, load(chip), WAY)
        assert [wiring[name].format for name in ("c", "d", "out")] == ["conv", "dense", "sparse"]
        assert [wiring[name].synapses.tolist() for name in ("c", "d", "out")] == [[kernels] * 3, [3, 3], [1, 1, 0]]
        assert wiring["c"].kept.channel.tolist() == [kernels]
        assert wiring.reach("d", np.ones((1, 2)))["c"].tolist() == [[2, 2, 2]]
        spikes = {"in": np.arange(8.0)}  # 0 1 2 3 over 4 5 6 7: the zero hears the upper right of a window
        want = [[0 + 1 + 4 + 5, 1 + 2 + 5 + 6, 2 + 3 + 6 + 7], [0 + 4 + 5, 1 + 5 + 6, 2 + 6 + 7]]
        assert wiring.arrivals("c", spikes).tolist() == want[kernels == 3]
    stored = as_stored(graph, load("loihi2"))
    assert stored["m"].op.weight.tolist() == [[1, 1, 2], [3, 4, 5]]
    assert stored["f"].op.weight is few


def test_rows_of_a_network_given_synapse_by_synapse_are_whole_once_half_of_them_is_there():
    """Five of nine pairs: rows of three. Four of nine: with indices."""
    for pairs, want in ((5, [3, 3, 3]), (4, [3, 1, 0])):
        post, pre = np.divmod(np.arange(pairs), 3)
        joined = Projection("in", "cells", pre, post, np.ones(pairs))
        network = Network("rows", (Neurons("in", (3,)), Neurons("cells", (3,), Dynamics(1.0))), (joined,))
        cells = of_network(network, 5, 3, 3)["cells"]
        assert (cells.format, cells.synapses.tolist()) == ("dense" if pairs == 5 else "sparse", want)


def test_what_is_missing_is_said(tiny_network):
    with pytest.raises(ValueError, match="no schedule; encode it first"):
        of_graph(tiny_network, CHIP, WAY)
    with pytest.raises(KeyError):
        of_graph(encode(tiny_network, "bits"), CHIP, replace(WAY, clock=0))["nobody"]
