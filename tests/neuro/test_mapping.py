"""The search over placements: best of its ladder by its own estimate, which is near the counted cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.count import count
from neuro.loads import core_prices, sweep_time
from neuro.mapping import estimate, mean_loads, search
from neuro.placement import ladder
from neuro.simulate import simulate
from neuro.traffic import traffic
from neuro.wiring import of_graph

HOST = ("host_write", "host_read", "reset")  # the same for every placement: not part of the estimate


@pytest.fixture(scope="module")
def arm(random_network):
    """Structure, chip and code to (graph, chip, realisation, spikes, mean spikes of every neuron)."""

    def build(structure: int, name: str, code: str):
        network = random_network(structure, np.random.default_rng(structure), 7, 7)
        graph = encode(network, code, 16 if code == "rate" else None)
        counts = jnp.asarray(np.random.default_rng(9).integers(0, 8, (8, 2, 6, 5)), jnp.float32)
        with jax.disable_jit():
            spikes = simulate(graph, counts).spikes
        chip = load(name)
        mean = {n: np.asarray(s).sum(axis=0).mean(axis=0).reshape(-1) for n, s in spikes.items()}
        return graph, chip, realise(chip, code, graph), spikes, mean

    return build


ARMS = [("loihi1", "rate"), ("loihi2", "bits")]


@pytest.mark.parametrize(("name", "code"), ARMS)
@pytest.mark.parametrize("structure", [1])
def test_the_best_of_the_ladder_is_chosen(structure, name, code, arm):
    graph, chip, realisation, _, mean = arm(structure, name, code)
    wiring = of_graph(graph, chip, realisation)
    chosen = search(wiring, chip, realisation, mean)
    assert set(chosen) == ({"single", "stream"} if realisation.streams else {"single"})
    rungs = ladder(wiring, chip, realisation, mean)
    assert len({r.number for r in rungs}) > 2
    single = [e.energy * e.time for e in (estimate(r, mean, "single") for r in rungs)]
    got = estimate(chosen["single"], mean, "single")
    assert got.energy * got.time == min(single)
    if "stream" in chosen:
        assert estimate(chosen["stream"], mean, "stream").energy == min(
            estimate(r, mean, "stream").energy for r in rungs
        )


@pytest.mark.parametrize(("name", "code"), ARMS)
def test_an_objective_is_kept_in_both_regimes(name, code, arm):
    """Whatever else a run would cost: no placement takes fewer cores, less traffic, or has a shorter step."""
    graph, chip, realisation, _, mean = arm(1, name, code)
    wiring = of_graph(graph, chip, realisation)
    found = {o: search(wiring, chip, realisation, mean, objective=o) for o in ("cores", "traffic", "step")}
    for placed in found.values():
        assert set(placed) == set(search(wiring, chip, realisation, mean))
        assert len({id(p) for p in placed.values()}) == 1
    cuts = {objective: placed["single"] for objective, placed in found.items()}
    busiest = {o: (mean_loads(p, mean) @ core_prices(p) + sweep_time(p)).max() for o, p in cuts.items()}
    assert cuts["cores"].number == min(p.number for p in cuts.values())
    assert busiest["step"] == min(busiest.values()) < busiest["cores"]
    packets = {o: traffic(p, mean).sum() for o, p in cuts.items()}
    assert packets["traffic"] == min(packets.values())


@pytest.mark.parametrize(("name", "code"), ARMS)
def test_no_other_rung_costs_less_by_the_counts(name, code, arm):
    """What `cost` makes of the counted run: energy x delay of one sample, energy in a stream."""
    graph, chip, realisation, spikes, mean = arm(1, name, code)
    wiring = of_graph(graph, chip, realisation)
    table = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")
    chosen, found = search(wiring, chip, realisation, mean), {}
    for rung in ladder(wiring, chip, realisation, mean):
        for regime, counts in count(rung, spikes).items():
            each = cost(counts, table)
            price = np.mean(each.total) * (np.mean(each.latency) if regime == "single" else 1)
            found.setdefault(regime, {})[rung.number] = float(price)
    for regime, by_cores in found.items():
        assert by_cores[chosen[regime].number] <= 1.02 * min(by_cores.values()), regime
        assert min(by_cores.values()) < 0.9 * max(by_cores.values())


@pytest.mark.parametrize(("name", "code"), ARMS)
@pytest.mark.parametrize("structure", [1])
@pytest.mark.parametrize("rung", [0, -1])
def test_the_estimate_is_near_the_count(structure, name, code, rung, arm):
    graph, chip, realisation, spikes, mean = arm(structure, name, code)
    placement = ladder(of_graph(graph, chip, realisation), chip, realisation, mean)[rung]
    table = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")
    for regime, counts in count(placement, spikes).items():
        path = counts.interval
        charged = np.array([0.0 if n in HOST else table.time[n] for n in path.names])
        time = (np.asarray(path.counts)[:, 0, 0] @ charged) / counts.batch
        same = {*HOST, "management"}
        dynamic = sum(np.asarray(n) * table.energy[e] for e, n in counts.events.items() if e not in same)
        energy = dynamic / counts.batch + table.active_power * time
        quick = estimate(placement, mean, regime)
        assert 1 / 1.5 < quick.time / time.mean() < 1.5, regime
        assert 1 / 1.5 < quick.energy / energy.mean() < 1.5, regime
