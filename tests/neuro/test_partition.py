"""Partitions: recurrent networks on random chips, cores given by hand, objectives against trying everything."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro.assignment import assigned
from neuro.blocks import Parts, parts
from neuro.capability import Realisation, realise
from neuro.chip import load
from neuro.demand import Demand, allowed
from neuro.dynamics import Dynamics
from neuro.errors import BadInput, DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Threshold
from neuro.network import Network, Neurons, Projection
from neuro.partition import _first, bound, frontier, partition, step_time
from neuro.placement import Placement, place, place_at
from neuro.search import Search
from neuro.stages import populations
from neuro.synapses import unroll
from neuro.wiring import as_stored, of_graph, of_network

NATIVE = Realisation("native")


def recurrent(seed: int, density: float = 0.15) -> Network:
    """An input, two populations that feed each other and themselves, a read-out; some pairs have two synapses."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 12, "a": int(rng.integers(8, 40)), "b": int(rng.integers(5, 30)), "out": 3}

    def wire(source: str, target: str) -> Projection:
        number = max(1, int(density * sizes[source] * sizes[target]))
        ends = (rng.integers(0, sizes[name], number) for name in (source, target))
        return Projection(source, target, *ends, rng.integers(-9, 10, number))

    edges = [("in", "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("b", "out")]
    neurons = tuple(Neurons(n, (size,), Dynamics(5) if n != "in" else None) for n, size in sizes.items())
    return Network("recurrent", neurons, tuple(wire(*edge) for edge in edges))


def assert_placed(network: Network, placement: Placement) -> None:
    """Every neuron and every synapse once, and limits recounted synapse by synapse, shared cores included."""
    used, number = placement.used, placement.number
    hears, sends = [set() for _ in range(number)], [set() for _ in range(number)]
    for p in network.projections:
        before, after = placement.core[p.source], placement.core[p.target]
        for pre, post in zip(p.pre.tolist(), p.post.tolist(), strict=True):
            hears[after[post]].add((p.source, pre))
            sends[before[pre]].add((p.source, pre, int(after[post])))
    assert used["axons_in"].tolist() == [len(heard) for heard in hears]
    if placement.chip.memory is None:
        assert used["axons_out"].tolist() == [len(sent) for sent in sends]
    held = sum(np.bincount(core, minlength=number) for core in placement.core.values())
    assert used["compartments"].tolist() == held.tolist()
    assert sum(held) == sum(p.size for p in network.populations)
    for limit, most in placement.limits.items():
        assert (used[limit] <= most).all(), limit
    pairs = {(p.source, p.target) for p in network.projections}
    assert {(fan.source, fan.target) for fan in placement.fans} == pairs
    for fan in placement.fans:
        want = np.zeros((number, network.size(fan.source)))
        for p in network.projections:
            if (p.source, p.target) == (fan.source, fan.target):
                np.add.at(want, (placement.core[p.target][p.post], p.pre), 1)
        np.testing.assert_array_equal(want[fan.cores], fan.synapses)
        assert want.sum() == fan.synapses.sum()  # none on other cores


@settings(max_examples=30)
@given(
    seed=st.integers(0, 50),
    name=st.sampled_from(["loihi1", "loihi2", "spinnaker2"]),
    compartments=st.sampled_from([4, 9, 1024]),
    axons=st.sampled_from([20, 45, 4096]),
    memory=st.sampled_from([900, 4000, 768000]),
    objective=st.sampled_from(["cores", "traffic", "step"]),
)
def test_recurrent_networks_keep_all_limits(seed, name, compartments, axons, memory, objective, altered_chip):
    network = recurrent(seed)
    chip = altered_chip(name, compartments=compartments, axons_in=axons, axons_out=axons, synapse_memory=memory)
    wiring = of_network(network, 20, 12, 3)
    spikes = {p.name: np.random.default_rng(seed).random(p.size) for p in network.populations}
    try:
        placement = place(wiring, chip, NATIVE, objective=objective, spikes=spikes)
    except DoesNotFit:
        assert axons < 4096 or memory < 768000 or compartments < 1024  # the chip as it is holds all of them
    else:
        assert_placed(network, placement)
        assert sorted(set(np.concatenate(list(placement.core.values())).tolist())) == list(range(placement.number))


def test_neurons_of_two_synaptic_currents_need_a_program():
    model = Dynamics(1.0, current_decay=(0.5, 0.75))
    eye = np.arange(3)
    projection = Projection("in", "cells", eye, eye, np.ones(3, int), delay=4, receptor=1)
    sooner = Projection("in", "cells", eye, eye, np.ones(3, int), delay=2)
    network = Network("two", (Neurons("in", (3,)), Neurons("cells", (3,), model)), (projection, sooner))
    wiring = of_network(network, 20, 3, 3)
    assert wiring.schedule.delays == {("in", "cells"): 4}  # the longest of several
    assert place(wiring, load("loihi2"), NATIVE).violations == ()
    with pytest.raises(
        DoesNotFit,
        match=r"layer 'cells' has neurons of 2 synaptic currents; loihi1 is described with one a neuron\. Use one",
    ):
        place(wiring, load("loihi1"), NATIVE)


def test_an_unrolled_graph_has_the_wiring_of_the_graph(random_network):
    """Cut as one or as the other: the same synapses between the same neurons, and the same fan-in. Lists of synapses
    know no kernels: where these reach half of all pairs, they are rows that hold every pair."""
    for structure in range(4):
        graph = encode(random_network(structure, np.random.default_rng(structure)), "rate", 9)
        chip = load("loihi2")
        layers = of_graph(graph, chip, NATIVE)
        cells = of_network(unroll(as_stored(graph, chip)), 9, 1, 1)
        assert [layer.name for layer in layers.layers] == [layer.name for layer in cells.layers]
        rng = np.random.default_rng(0)
        for layer in layers.layers[1:]:
            other = cells[layer.name]
            if (layer.format, other.format) == ("conv", "dense"):
                assert other.synapses.min() >= other.hears == sum(layers[s].size for s in layer.sources)
                continue
            assert (layer.sources, layer.fan_in) == (other.sources, other.fan_in)
            np.testing.assert_array_equal(layer.synapses, other.synapses)
            group = rng.integers(0, 2, (2, layer.size)).astype(np.float32)
            one = layers.reach(layer.name, group.reshape(2, *layer.shape))
            two = cells.reach(layer.name, group)
            for source in layer.sources:
                np.testing.assert_array_equal(one[source], two[source])
            rates = {source: rng.random(layers[source].size) for source in layer.sources}
            each = layers.arrivals(layer.name, rates), cells.arrivals(layer.name, rates)
            np.testing.assert_allclose(*each, rtol=1e-5)


@pytest.mark.parametrize("name", ["loihi1", "generic"])
def test_populations_share_a_core(name):
    """All of a network on one core, and by turns on three: limits are those of the core, whoever lies on it."""
    network = recurrent(3)
    wiring = of_network(network, 20, 12, 3)
    core = {p.name: np.zeros(p.size, int) for p in network.populations}
    placement = place_at(wiring, load(name), NATIVE, core)
    assert placement.number == 1
    assert_placed(network, placement)
    assert assigned(wiring, load(name), NATIVE, core).used["fan_in"] == [max(x.fan_in for x in wiring.layers)]
    assert placement.swept.tolist() == [sum(p.size for p in network.populations)]
    turns = {p.name: np.arange(p.size) % 3 for p in network.populations}
    assert_placed(network, place_at(wiring, load(name), NATIVE, turns))
    with pytest.raises(BadInput, match="core 1 holds no neuron"):
        place_at(wiring, load(name), NATIVE, core | {"out": np.full(3, 2)})
    with pytest.raises(BadInput, match=r"'out' has 3 neurons; cores were given for \(2,\)"):
        place_at(wiring, load(name), NATIVE, core | {"out": np.zeros(2, int)})


def test_too_much_on_one_core_is_refused(altered_chip):
    network = recurrent(3)
    wiring = of_network(network, 20, 12, 3)
    core = {p.name: np.zeros(p.size, int) for p in network.populations}
    with pytest.raises(DoesNotFit, match=r"a core needs \d+ compartments; a core of loihi2 allows 20"):
        place_at(wiring, altered_chip("loihi2", compartments=20), NATIVE, core)


@pytest.mark.parametrize("name", ["loihi2", "generic"])
def test_cores_given_as_they_were_cut_make_the_same_placement(name, random_network, altered_chip):
    graph = encode(random_network(2, np.random.default_rng(2)), "rate", 9)
    chip = altered_chip(name, compartments=40)
    way = realise(chip, "rate", graph)
    wiring = of_graph(graph, chip, way)
    first = place(wiring, chip, way)
    again = place_at(wiring, chip, way, first.core)
    for limit, used in first.used.items():
        np.testing.assert_allclose(used, again.used[limit], err_msg=limit)
    for one, two in zip(first.fans, again.fans, strict=True):
        assert (one.source, one.target, one.event) == (two.source, two.target, two.event)
        np.testing.assert_array_equal(one.cores, two.cores)
        np.testing.assert_array_equal(one.synapses, two.synapses)


@pytest.fixture(scope="module")
def small():
    """Two convolutions and a dense layer, few enough to try every cut of every layer, with spikes."""
    rng = np.random.default_rng(0)
    one = np.ones((1, 1, 1), np.int64)
    nodes = (
        Node("in", Input((2, 6, 6), 3)),
        Node("k1", Conv(rng.integers(-4, 5, (4, 2, 3, 3)), None, (1, 1), ((1, 1), (1, 1))), ("in",)),
        Node("c1", Threshold(one, 0 * one, 3), ("k1",)),
        Node("k2", Conv(rng.integers(-4, 5, (6, 4, 3, 3)), None, (2, 2), ((1, 1), (1, 1))), ("c1",)),
        Node("c2", Threshold(one, 0 * one, 3), ("k2",)),
        Node("f", Reshape((54,)), ("c2",)),
        Node("out", Dense(rng.integers(-4, 5, (5, 54)), None), ("f",)),
    )
    graph = encode(Graph("small", nodes), "rate", 9)
    spikes = {n.name: 9 * rng.random(graph.size(n.name)) for n in populations(graph)[:-1]}
    return of_graph(graph, load("loihi2"), NATIVE), spikes


def everything(wiring, chip, spikes, cores):
    """Packets, slowest core and number of every admissible partition on up to `cores` cores."""
    rates = {"out": np.zeros(5)} | {name: each / 9 for name, each in spikes.items()}
    demands = {layer.name: Demand(wiring, layer, chip, NATIVE, rates) for layer in wiring.layers}
    targets = {layer.name: [t.name for t in wiring.layers if layer.name in t.sources] for layer in wiring.layers}
    options = {}
    for layer in wiring.layers:
        d = demands[layer.name]
        options[layer.name] = [
            cut
            for cut in parts(layer.shape, 1, cores)
            if d.compartments(cut).max() <= allowed(chip, "compartments")
            and d.memory(cut).max() <= allowed(chip, "synapse_memory")
            and d.axons_in(cut).max() <= allowed(chip, "axons_in")
        ]
    found = []
    for chosen in product(*options.values()):
        each: dict[str, Parts] = dict(zip(options, chosen, strict=True))
        number = sum(cut.number for cut in chosen)
        if number > cores:
            continue
        heard = {n: [demands[t].reached(each[t], n) for t in targets[n]] for n in each}
        if any(demands[n].axons_out(each[n], heard[n]).max() > allowed(chip, "axons_out") for n in each):
            continue
        packets = {n: np.sum([np.zeros(wiring[n].size), *heard[n]], axis=0) for n in each}
        step = max(float(demands[n].step(each[n], packets[n]).max()) for n in each)
        found.append((sum(float(rates[n] @ packets[n]) for n in each), step, number))
    return np.array(found)


def test_objectives_against_every_partition(small, altered_chip):
    wiring, spikes = small
    chip = altered_chip("loihi2", cores=10, chips=1, compartments=60)
    every = everything(wiring, chip, spikes, 10)
    assert len(every) > 20
    cuts = {o: partition(wiring, chip, NATIVE, objective=o, spikes=spikes) for o in ("cores", "traffic", "step")}
    number = {o: sum(cut.number for cut in found.values()) for o, found in cuts.items()}
    assert number["cores"] == every[:, 2].min()
    assert max(step_time(wiring, chip, NATIVE, spikes, cuts["step"]).values()) <= 1.1 * every[:, 1].min()
    packets = sum(
        float((synapses > 0).sum(axis=0) @ spikes[source]) / 9
        for cut in cuts["traffic"].values()
        for source, synapses in cut.inward.items()
    )
    assert packets <= 1.05 * every[:, 0].min()
    assert bound(wiring, chip, NATIVE) <= number["cores"]


def test_the_frontier_against_every_partition(small, altered_chip):
    """From the fewest cores to the shortest step; each cut is done in half the time of the one before, on at most a
    core more than any partition that is as quick."""
    wiring, spikes = small
    chip = altered_chip("loihi2", cores=12, chips=1)
    every = everything(wiring, chip, spikes, 12)
    rungs = frontier(wiring, chip, NATIVE, spikes)
    number = [sum(cut.number for cut in cuts.values()) for cuts in rungs]
    step = [max(step_time(wiring, chip, NATIVE, spikes, cuts).values()) for cuts in rungs]
    ends = (partition(wiring, chip, NATIVE), partition(wiring, chip, NATIVE, objective="step", spikes=spikes))
    for cuts, end in zip((rungs[0], rungs[-1]), ends, strict=True):
        assert {name: cut.parts for name, cut in cuts.items()} == {name: cut.parts for name, cut in end.items()}
    assert len(rungs) == 3
    assert number == sorted(set(number))
    for k, (cores, seconds) in enumerate(zip(number[:-1], step[:-1], strict=True)):
        assert seconds <= step[0] / 2**k
        assert cores <= every[every[:, 1] <= seconds, 2].min() + 1
    assert step[-1] == min(step)


@pytest.mark.parametrize(("heard", "sent", "plain"), [(60, 40, 23), (60, 36, 23), (80, 30, 36), (144, 60, 7)])
def test_fewest_cores_where_sending_is_dear(heard, sent, plain, small, altered_chip):
    """Near the fewest of all partitions where a layer in few groups saves cores before it, and never more than by the
    rule that looks at a layer alone."""
    wiring, spikes = small
    chip = altered_chip("loihi2", cores=40, chips=1, compartments=60, axons_in=heard, axons_out=sent)
    number = sum(cut.number for cut in partition(wiring, chip, NATIVE).values())
    assert sum(cut.number for cut in search(wiring, chip).cut(_first).values()) == plain
    assert number <= min(plain, 1.05 * everything(wiring, chip, spikes, number)[:, 2].min())


def search(wiring, chip) -> Search:
    """Every neuron spikes in every step."""
    rates = {layer.name: np.ones(layer.size) for layer in wiring.layers}
    return Search(wiring, chip, NATIVE, False, rates)


def test_a_network_that_the_plain_rule_cannot_cut(small, altered_chip):
    """The first cut of a layer that keeps its limits may be heard by more cores than a neuron can send to."""
    wiring, _ = small
    chip = altered_chip("loihi2", cores=200, chips=1, compartments=60, axons_in=60, axons_out=12)
    with pytest.raises(DoesNotFit, match="axons out"):
        search(wiring, chip).cut(_first)
    assert partition(wiring, chip, NATIVE)


@pytest.mark.parametrize("priced", [(), ("axon_in",), ("neuron_update",)])
@pytest.mark.parametrize("activity", [0.0, 1.0])
def test_the_frontier_where_little_takes_time(small, priced, activity, altered_chip):
    """Down to nothing at all: the fewest cores, and then no step is shorter."""
    wiring, spikes = small
    chip = altered_chip("loihi2", cores=20, chips=1)
    free = {name: None for name in type(chip.time).model_fields if name not in priced}
    chip = chip.model_copy(update={"time": chip.time.model_copy(update=free)})
    rungs = frontier(wiring, chip, NATIVE, {name: activity * n for name, n in spikes.items()})
    steps = [max(step_time(wiring, chip, NATIVE, spikes, cuts).values()) for cuts in rungs]
    works = "neuron_update" in priced or (priced and activity)
    assert steps[-1] == min(steps)
    assert (steps[-1] < steps[0]) == bool(works)


def test_the_shortest_step_needs_spikes(small):
    with pytest.raises(ValueError, match="spikes"):
        partition(small[0], load("loihi2"), NATIVE, objective="step")
