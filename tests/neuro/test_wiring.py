"""What mapping knows of a layer, against its synapses written out one by one."""

from dataclasses import replace

import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import Realisation
from neuro.layers import MaxPool, Threshold
from neuro.reach import fan_out
from neuro.stages import populations
from neuro.synapses import unroll
from neuro.wiring import of_graph

WAY = Realisation("gadget", compartments=2, membranes=2, clock=1, clock_bias=2)


@pytest.mark.parametrize("structure", range(6))
def test_layers_are_those_of_the_synapses(structure, random_network):
    """Size, sources, largest fan-in, most axons and widest weight of every layer; slots of membranes and pools."""
    graph = encode(random_network(structure, np.random.default_rng(structure), 3, 4), "unary")
    network, wiring = unroll(graph), of_graph(graph, WAY, fan_out(graph))
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
    wiring = of_graph(encode(tiny_network, "unary"), WAY)
    assert [layer.format for layer in wiring.layers] == ["sparse", "dense", "dense"]
    assert [layer.weight_bits for layer in wiring.layers] == [0, 2, 2]  # one bit and a sign
    assert [layer.kernel for layer in wiring.layers] == [0, 0, 0]
    convolved = of_graph(encode(random_network(1, np.random.default_rng(1), 3, 4), "bits"), WAY)
    assert "conv" in {layer.format for layer in convolved.layers}
    assert 3 in {layer.kernel for layer in convolved.layers}  # that of the convolution; pools have windows of their own


def test_what_is_missing_is_said(tiny_network):
    with pytest.raises(ValueError, match="no schedule; encode it first"):
        of_graph(tiny_network, WAY)
    with pytest.raises(KeyError):
        of_graph(encode(tiny_network, "bits"), replace(WAY, clock=0))["nobody"]
