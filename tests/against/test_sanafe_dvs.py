"""SANA-FE's spiking network of the DVS gestures on its Loihi: counts to the last one, energy, and both step times.

A regression against another simulator, not a validation. The network, its soma and its chip are read from SANA-FE's own
files; where NEURO_SANAFE_PYTHON names a Python that has SANA-FE, it runs beside.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks.peers.sanafe_files import Placed as Network
from experiments.benchmarks.peers.sanafe_files import position, read_architecture, read_network
from neuro.detailed import Mesh, Messages, Seconds, busiest, detailed

STEPS = 128
COUNTS = {"spikes": 38_081, "packets": 386_640, "synops": 5_437_656, "updates": 1_346_821}
ENERGY = {"synapse": 131.2e-6, "soma": 154.1e-6, "network": 46.4e-6, "total": 331.8e-6}
SIMPLE, DETAILED = 14.24e-6, 15.92e-6
"""SANA-FE's figures for 128 steps on 49 cores, J and s a step, as rounded by its published run."""


@dataclass(frozen=True)
class Run:
    """spikes, updated [step, neuron]."""

    spikes: np.ndarray
    updated: np.ndarray


def soma(potential, current, arrived, net: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of SANA-FE's leaky integrator: next membrane, who fires, who counts as updated.

    Leak, truncation towards zero to 1/64, then what the spikes of the step before bring and the bias; fires above the
    threshold and falls to 0. Updated is who had a membrane, has a bias, or was reached by a synapse, whatever it
    weighed.
    """
    updated = (potential != 0) | (net.bias != 0) | arrived
    potential = np.trunc(potential * net.leak * 64) / 64 + current + net.bias
    fires = potential > net.threshold
    return np.where(fires, 0.0, potential), fires, updated


def simulate(net: Network, steps: int) -> Run:
    spikes, updated = np.zeros((2, steps, len(net.core)), bool)
    potential, current, arrived = np.zeros(len(net.core)), np.zeros(len(net.core)), np.zeros(len(net.core), bool)
    for step in range(steps):
        potential, spikes[step], updated[step] = soma(potential, current, arrived, net)
        current, arrived = net.weights @ spikes[step], (net.synapses @ spikes[step]) > 0
    return Run(spikes, updated)


def counts(net: Network, run: Run) -> dict[str, np.ndarray]:
    """Of every step. One packet for each spike and core that it has synapses on, its own core included."""
    source, target = net.sends.nonzero()
    apart = [np.abs(a - b) for a, b in zip(position(net.core[source]), position(target), strict=True)]
    along_row, along_column = (np.bincount(source, hops, len(net.core)) for hops in apart)
    conv = net.synapse == "loihi_conv_synapse"
    return {
        "spikes": run.spikes.sum(axis=1),
        "updates": run.updated.sum(axis=1),
        "packets": run.spikes @ np.diff(net.sends.indptr),
        "synops": run.spikes @ net.synapses.sum(axis=0),
        "conv": run.spikes @ net.synapses[conv].sum(axis=0),
        "along_row": run.spikes @ along_row,
        "along_column": run.spikes @ along_column,
    }


def energy(net: Network, number: dict[str, np.ndarray], units: dict[str, dict[str, float]]) -> dict[str, np.ndarray]:
    """J of every step. Every mapped neuron pays its access; bias-driven input neurons are neurons like all others."""
    unit, tile, out = units["loihi_lif"], units["loihi_tile"], units["loihi_out"]
    conv, dense = (units[f"loihi_{kind}_synapse"]["energy_process_spike"] for kind in ("conv", "dense"))
    parts = {
        "soma": len(net.core) * unit["energy_access_neuron"]
        + number["updates"] * unit["energy_update_neuron"]
        + number["spikes"] * unit["energy_spike_out"],
        "synapse": number["conv"] * conv + (number["synops"] - number["conv"]) * dense,
        "network": number["packets"] * out["energy_message_out"]
        + number["along_row"] * tile["energy_east_hop"]
        + number["along_column"] * tile["energy_north_hop"],
    }
    return parts | {"total": np.sum(list(parts.values()), axis=0)}


def messages(net: Network, fires: np.ndarray, updated: np.ndarray, units: dict) -> tuple[Messages, np.ndarray]:
    """One step's messages, neuron by neuron along the sweep of each core, and what remains of the sweeps."""
    unit, leaves = units["loihi_lif"], units["loihi_out"]["latency_message_out"]
    work = unit["latency_access_neuron"] + updated * unit["latency_update_neuron"] + fires * unit["latency_spike_out"]
    order = np.argsort(net.core, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    swept = np.concatenate([[0.0], np.cumsum(work[order])])
    sent = net.sends[order[fires[order]]].tocoo()
    neuron = order[fires[order]][sent.row]
    turn = np.lexsort((sent.col, place[neuron]))
    neuron, receiver, synapses = neuron[turn], sent.col[turn], sent.data[turn].astype(int)
    sender = net.core[neuron]
    ready = swept[place[neuron] + 1] + leaves * np.arange(1, len(neuron) + 1)
    bounds = np.searchsorted(net.core[order], np.arange(129))  # a core's neurons in the order of the sweep
    before = swept[bounds[:-1]][sender] + leaves * np.searchsorted(sender, sender)
    follows = np.concatenate([[False], sender[1:] == sender[:-1]]) if len(sender) else np.zeros(0, bool)
    delay = ready - np.where(follows, np.concatenate([[0.0], ready])[:-1], before)
    last = swept[bounds[:-1]]
    last[sender] = swept[place[neuron] + 1]
    return Messages(sender, receiver.astype(int), synapses, delay), np.maximum(swept[bounds[1:]] - last, 0.0)


def step_times(net: Network, run: Run, units: dict) -> tuple[np.ndarray, np.ndarray]:
    """s of every step by the busiest core and by events."""
    cores = np.arange(128)
    mesh = Mesh(*position(cores))
    synop = np.zeros(128)
    synop[net.core] = [units[name]["latency_process_spike"] for name in net.synapse]
    tile = units["loihi_tile"]
    seconds = Seconds(
        tile["latency_east_hop"],
        tile["latency_north_hop"],
        units["loihi_in"]["latency_message_in"],
        synop,
        units["loihi_chip"]["link_buffer_size"],
    )
    tiles = len(np.unique(net.core // 4))
    barrier = max((int(least), s) for least, s in units["barrier"].items() if int(least) <= tiles)[1]
    simple, events = [], []
    for fires, updated in zip(run.spikes, run.updated, strict=True):
        sent, rest = messages(net, fires, updated, units)
        simple.append(busiest(sent, rest, seconds, barrier))
        events.append(detailed(sent, rest, mesh, seconds, barrier).duration)
    return np.array(simple), np.array(events)


def sanafe(architecture: Path, network: Path, steps: int) -> dict[str, dict]:
    """What SANA-FE itself says, in a process of its own."""
    python = os.environ.get("NEURO_SANAFE_PYTHON")
    if not python:
        pytest.skip("NEURO_SANAFE_PYTHON names no Python with SANA-FE")
    script = Path(__file__).with_name("sanafe_process.py")
    command = [python, str(script), str(architecture), str(network), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(neuro_data) -> Path:
    folder = neuro_data / "models" / "event"
    if not (folder / "sanafe_dvs.yaml").is_file():
        pytest.skip("the DVS network of SANA-FE is not in NEURO_DATA")
    return folder


@pytest.fixture(scope="module")
def units(folder) -> dict[str, dict[str, float]]:
    return read_architecture(folder / "sanafe_loihi_arch.yaml")


@pytest.fixture(scope="module")
def net(folder) -> Network:
    return read_network(folder / "sanafe_dvs.yaml")


@pytest.fixture(scope="module")
def run(net) -> Run:
    return simulate(net, STEPS)


@pytest.fixture(scope="module")
def times(net, run, units) -> tuple[np.ndarray, np.ndarray]:
    return step_times(net, run, units)


def test_the_network_is_the_published_one(net):
    assert len(net.core) == 1024 + 3600 + 5408 + 7744 + 891 + 11
    assert len(np.unique(net.core)) == 49
    assert net.core.min() >= 0


def test_counts_are_equal_to_the_last_one(net, run):
    number = counts(net, run)
    assert {name: number[name].sum() for name in COUNTS} == COUNTS


def test_energy_within_a_thousandth(net, run, units):
    spent = energy(net, counts(net, run), units)
    for part, published in ENERGY.items():
        assert spent[part].sum() == pytest.approx(published, rel=1e-3), part


def test_step_times(times):
    simple, events = times
    assert simple.mean() == pytest.approx(SIMPLE, rel=0.01)
    assert events.mean() == pytest.approx(DETAILED, rel=0.1)
    assert (events >= simple * (1 - 1e-12)).all()


def agree(theirs: dict[str, dict], net: Network, run: Run, units: dict, times: tuple[np.ndarray, np.ndarray]) -> None:
    """Every step of both runs: equal counts, energy to rounding, simple time to rounding, detailed time closely."""
    number, trace = counts(net, run), theirs["simple"]
    for ours, name in {"spikes": "fired", "synops": "spikes", "updates": "updated"}.items():
        np.testing.assert_array_equal(number[ours], trace[name], ours)
    np.testing.assert_array_equal(number["along_row"] + number["along_column"], trace["hops"])
    assert number["packets"].sum() == trace["packets"]
    for part, spent in energy(net, number, units).items():
        np.testing.assert_allclose(spent, trace[f"{part}_energy"], rtol=1e-9, err_msg=part)
    np.testing.assert_allclose(times[0], trace["sim_time"], rtol=1e-9)
    # Only the order of messages ready at the same instant differs.
    np.testing.assert_allclose(times[1], theirs["detailed"]["sim_time"], rtol=0.03)
    assert times[1].mean() == pytest.approx(np.mean(theirs["detailed"]["sim_time"]), rel=0.005)


def test_every_step_agrees_with_sanafe(folder, net, run, units, times):
    theirs = sanafe(folder / "sanafe_loihi_arch.yaml", folder / "sanafe_dvs.yaml", STEPS)
    agree(theirs, net, run, units, times)


def write_random(path: Path, seed: int) -> None:
    """A strided convolution, a dense and a recurrent layer on cores of random tiles, several groups on some cores."""
    rng = np.random.default_rng(seed)
    sizes, kinds, leaks = (63, 60, 20), ("conv", "conv", "dense"), (0.9375, 0.75, 1)
    lines = ["network:", f"  name: random{seed}", "  groups:"]
    for group, size in enumerate(sizes):
        lines += [
            f"  - name: {group}",
            f"    attributes: {{soma_hw_name: loihi_lif, synapse_hw_name: loihi_{kinds[group]}_synapse,",
            f"      threshold: {20 + 7 * group}, reset: 0, leak_decay: {leaks[group]}, log_spikes: true}}",
            "    neurons:",
            *(f"    - {{{n}: {{bias: {rng.integers(0, 14) if group == 0 else 0}}}}}" for n in range(size)),
        ]
    shape = {"input_width": 9, "input_height": 7, "input_channels": 1, "kernel_width": 3, "kernel_height": 2,
             "kernel_count": 5, "stride_width": 2, "stride_height": 2}  # fmt: skip
    lines += ["  edges:", "  - 0 -> 1:", "      type: conv2d", *(f"      {k}: {v}" for k, v in shape.items())]
    lines += [f"      weight: {rng.integers(-9, 18, 30).tolist()}"]
    for edge, number in {"1 -> 2": 1200, "2 -> 2": 400, "2 -> 1": 1200}.items():
        lines += [f"  - {edge}:", "      type: dense", f"      weight: {rng.integers(-4, 5, number).tolist()}"]
    cores = rng.choice(128, 9, replace=False)
    placed = {"dense": cores[:2], "conv": cores[2:]}
    lines += ["mappings:"]
    for group, size in enumerate(sizes):
        for neuron, core in enumerate(rng.choice(placed[kinds[group]], size)):
            lines += [f"- {{'{group}.{neuron}': {{core: '{core // 4}.{core % 4}'}}}}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_networks_agree_with_sanafe(tmp_path, folder, units, seed):
    architecture = folder / "sanafe_loihi_arch.yaml"
    write_random(tmp_path / "net.yaml", seed)
    net = read_network(tmp_path / "net.yaml")
    run = simulate(net, 60)
    assert 0.01 < run.spikes.mean() < 0.6
    theirs = sanafe(architecture, tmp_path / "net.yaml", 60)
    agree(theirs, net, run, units, step_times(net, run, units))
