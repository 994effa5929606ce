"""A code run over all items: proof, totals, chunking."""

import numpy as np
import pytest

from converters import fold, quantise
from converters.encode import encode
from experiments.run import chunk_size, chunks, classify, mean_spikes, run, zero_shares
from neuro import chip
from neuro.capability import realise
from neuro.count import before
from neuro.graph import Graph, Node
from neuro.placement import place
from neuro.wiring import of_graph


@pytest.fixture(scope="module")
def integer(network, dataset):
    folded = fold.fold(network, dataset.gain, dataset.offset)
    return quantise.reference(folded, dataset.calibration_counts, dataset.levels).graph


@pytest.mark.parametrize("code", ["unary", "bits", "naf", "ttfs", "graded"])
def test_exact_codes_are_checked_over_every_neuron_and_item(integer, dataset, code):
    graph = encode(integer, code)
    done = run(graph, integer, dataset.counts, {}, lambda n: None)
    # 16 inputs, 64 hidden, 16 pooled neurons and 3 logits, 40 items
    assert (done.checked, done.mismatches) == (40 * (16 + 64 + 16 + 3), 0)
    np.testing.assert_array_equal(done.predictions, classify(integer, dataset.counts))


def test_unary_spikes_are_the_sum_of_the_counts(integer, dataset):
    done = run(encode(integer, "unary"), integer, dataset.counts, {}, lambda n: None)
    assert done.by_layer["input"] == pytest.approx(dataset.counts.sum() / 40)
    assert done.spikes.sum() == pytest.approx(40 * sum(done.by_layer.values()), rel=1e-6)


def test_a_faulty_network_is_caught(integer, dataset):
    """One threshold raised by one in the spiking network only."""
    from dataclasses import replace

    graph = encode(integer, "bits")
    nodes = list(graph.nodes)
    at = next(i for i, n in enumerate(nodes) if hasattr(n.op, "threshold"))
    nodes[at] = replace(nodes[at], op=replace(nodes[at].op, threshold=nodes[at].op.threshold + 1))
    done = run(replace(graph, nodes=tuple(nodes)), integer, dataset.counts, {}, lambda n: None)
    assert done.mismatches > 0


def test_results_do_not_depend_on_the_chunking(integer, dataset):
    graph = encode(integer, "bits")
    loihi2 = chip.load("loihi2")
    cores = loihi2.limits.cores.model_copy(update={"value": 20})  # for five copies of four cores
    loihi2 = loihi2.model_copy(update={"limits": loihi2.limits.model_copy(update={"cores": cores})})
    way = realise(loihi2, "bits", graph)
    placement = place(of_graph(graph, loihi2, way), loihi2, way)
    seen = []
    placements = {("loihi2", "single"): placement, ("loihi2", "stream"): placement}
    whole = run(graph, integer, dataset.counts, placements, seen.append)
    size = chunk_size(graph, 40, placement.number)
    assert size == 40
    # under way before a sample: three others, in the three layers behind its own; beside it: those of other copies
    assert before(placement) == 3 + 4
    wanted = 7 + before(placement)
    memory = next(m for m in range(2**10, 2**29, 2**10) if chunk_size(graph, 10**9, placement.number, m) == wanted)
    parts = run(graph, integer, dataset.counts, placements, seen.append, memory=memory)
    assert seen == [40, 7, 7, 7, 7, 7, 5]
    assert parts.mismatches == 0
    np.testing.assert_array_equal(whole.spikes, parts.spikes)
    np.testing.assert_array_equal(whole.predictions, parts.predictions)
    for regime in ("single", "stream"):
        a, b = (r.counts["loihi2", regime] for r in (whole, parts))
        for name in a.events:
            np.testing.assert_array_equal(a.events[name], b.events[name], err_msg=name)
        np.testing.assert_array_equal(a.latency.counts, b.latency.counts)
        np.testing.assert_array_equal(a.interval.counts, b.interval.counts)


def test_membranes_saturate_at_the_state_of_the_narrowest_chip(network, dataset):
    folded = fold.fold(network, dataset.gain, dataset.offset)
    graph = encode(quantise.rate(folded, dataset.calibration_counts, dataset.levels).graph, "rate", 64)
    free = run(graph, None, dataset.counts, {}, lambda n: None)
    roomy = run(graph, None, dataset.counts, {}, lambda n: None, limit=free.peak)
    np.testing.assert_array_equal(free.spikes, roomy.spikes)
    tight = run(graph, None, dataset.counts, {}, lambda n: None, limit=100.0)
    assert free.peak > 100
    assert (tight.spikes != free.spikes).any()


def test_chunks_keep_within_the_memory_and_are_never_empty(integer, dataset):
    graph = encode(integer, "unary")
    sizes = [chunk_size(graph, 10_000, cores=10, memory=m) for m in (1, 2**20, 2**24)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert chunk_size(graph, 5, memory=2**40) == 5
    seen = []
    few = classify(integer, dataset.counts[:3], seen.append, memory=1)
    assert seen == [1, 1, 1]
    np.testing.assert_array_equal(few, classify(integer, dataset.counts[:3]))


def test_chunks_are_a_ring():
    assert [(a.tolist(), b) for a, b in chunks(3, 5, 9)] == [([0, 1, 2], slice(0, 3))]
    assert [(a.tolist(), b) for a, b in chunks(5, 3)] == [([0, 1, 2], slice(0, 3)), ([3, 4, 0], slice(0, 2))]
    found = [(a.tolist(), b) for a, b in chunks(5, 4, 2)]
    assert found == [([3, 4, 0, 1], slice(2, 4)), ([0, 1, 2, 3], slice(2, 4)), ([2, 3, 4, 0], slice(2, 3))]
    assert [(a.tolist(), b) for a, b in chunks(2, 1, 3)] == [([1, 0, 1, 0], slice(3, 4)), ([0, 1, 0, 1], slice(3, 4))]


def test_pilot_means_and_zero_shares(integer, dataset):
    means = mean_spikes(encode(integer, "unary"), dataset.counts)
    np.testing.assert_allclose(means["input"], dataset.counts.reshape(40, -1).mean(axis=0), rtol=1e-6)
    shares = zero_shares(integer, dataset.counts, {"conv", "dense", "relu"})
    assert set(shares) == {"conv", "dense"}
    assert shares["conv"] == pytest.approx((dataset.counts == 0).mean())


def test_slashes_in_names_change_no_share(network, dataset, integer):
    """As in the ONNX files that PyTorch writes: /conv/Conv, /relu/Relu."""
    names = {n.name: f"/{n.name}/Op" for n in network.nodes}
    slashed = tuple(Node(names[n.name], n.op, tuple(names[i] for i in n.inputs)) for n in network.nodes)
    folded = fold.fold(Graph(network.name, slashed), dataset.gain, dataset.offset)
    found = quantise.reference(folded, dataset.calibration_counts, dataset.levels).graph
    shares = zero_shares(found, dataset.counts, set(names.values()))
    plain = zero_shares(integer, dataset.counts, set(names))
    assert shares == {names[name]: share for name, share in plain.items()}
    assert len(shares) == 2
