"""Slopes of energy and latency in every constant of the bundled chips, against differences of a cost in NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import Chip, known, load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import Counts, Path, average
from neuro.placement import place
from neuro.wiring import of_graph

MAPPED = [name for name in known() if load(name).scope == "mapped"]
EVERY = 1.0
"""s between samples, so that the idle power counts too."""


def priced_constants(chip: Chip) -> dict[str, float]:
    tables = ("energy.", "time.", "power.", "clock")
    return {path: c.value for path, c in leaves(chip) if path.startswith(tables)}


def by_numpy(counts: Counts, values: dict[str, float], boundary: str) -> tuple[float, float]:
    """Energy and latency in float64, written out without `neuro.cost`; included events have no constant."""

    def seconds(path: Path) -> float:
        table = np.array([values.get(f"time.{name}", 0.0) for name in path.names])
        return float((np.asarray(path.counts, np.float64) @ table).max(axis=1).sum())

    clocked = values.get("energy.cycle", 0.0) * values.get("clock", 0.0)
    interval = seconds(counts.interval) / counts.batch
    joules = sum(float(n) * values.get(f"energy.{name}", 0.0) for name, n in counts.events.items()) / counts.batch
    busy, idle = (values[f"power.{boundary}.{state}"] + clocked for state in ("active", "idle"))
    return joules + counts.machines * (busy * interval + idle * (EVERY - interval)), seconds(counts.latency)


@pytest.fixture(scope="module")
def counted(tiny_network, counter):
    """Mean counts by regime of random spikes; each core on a router of its own, the last on a second chip if it can."""

    def on(chip: Chip) -> dict[str, Counts]:
        code = "rate" if chip.name == "speck" else "unary"
        graph = encode(tiny_network, code, 3 if code == "rate" else None)
        way = realise(chip, code, graph)
        placement = place(of_graph(graph, chip, way), chip, way)
        if chip.chips > 1:
            site = placement.site * int(chip.mesh.cores_per_router.value)
            site[-1] += int(chip.limits.cores.value)
            placement = replace(placement, site=site, topology=replace(placement.topology, chip_columns=2))
        assert graph.schedule is not None
        rng = np.random.default_rng(0)
        windows = graph.schedule.windows
        spikes = {n: jnp.asarray(rng.random((w.steps, 3, *graph.shapes[n])) < 0.6) for n, w in windows.items()}
        return {r: average(c, np.ones(3, np.float32)) for r, c in counter(placement)(spikes).items()}

    return on


@pytest.mark.parametrize("name", MAPPED)
def test_slopes_are_differences(name, counted):
    """Both are at most bilinear in the constants: central differences of half a constant are exact but for rounding."""
    chip = load(name)
    values, seen = priced_constants(chip), set()
    for counts in counted(chip).values():
        for boundary in chip.power:

            def outcome(v, counts=counts, boundary=boundary):
                spent = cost(counts, prices(chip, v, boundary), EVERY)
                return jnp.stack([spent.total, spent.latency])

            slopes = jax.jacrev(outcome)({path: jnp.float32(v) for path, v in values.items()})
            for path, value in values.items():
                high, low = ({**values, path: value * factor} for factor in (1.5, 0.5))
                want = np.subtract(by_numpy(counts, high, boundary), by_numpy(counts, low, boundary)) / value
                scale = np.abs(by_numpy(counts, values, boundary)) / value
                np.testing.assert_allclose(slopes[path], want, rtol=2e-5, atol=1e-13 * scale.max(), err_msg=path)
                seen |= {path} if np.any(want) else set()
    silent = {path for path in values if path not in seen and path.startswith(("energy", "time", "power"))}
    assert silent <= unused(chip), silent - unused(chip)


def unused(chip: Chip) -> set[str]:
    """Constants that this network cannot touch: other storage formats, graded spikes, matrix units, updates by the
    side of a program, ticks or links that nobody waits for."""
    both = ("synop_conv", "synop_sparse", "synop_graded", "mac", *(("neuron_update",) if chip.neuron.program else ()))
    links = {"time.link"} | ({"time.axon_in", "time.neuron_program"} if chip.pace.kind == "tick" else set())
    late = {"time.synop_dense", "time.spike", "time.axon_out"} if chip.pace.kind == "tick" else set()
    return {f"{table}.{event}" for table in ("energy", "time") for event in both} | links | late
