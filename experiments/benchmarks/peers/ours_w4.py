"""W4, a network on the cores of a chip: spikes on the recurrent kernel; energy and time of every step from its counts.

One population for each core, so that the neurons updated are known by core. All that a spike causes is linear in it.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse

from experiments.benchmarks.peers.sanafe_files import Placed, position, read_architecture, read_network
from neuro import native, recurrent
from neuro.dynamics import Dynamics
from neuro.network import Network, Neurons, Projection

QUANTUM = 1 / 64
"""What a membrane is truncated to when it leaks."""
CORES = 128


@dataclass(frozen=True, eq=False)
class Mapped:
    """An `ours.Engine` of W4. effects [neuron, effect]: seconds of sending by core, seconds of receiving by core, J of
    a spike; sweep [core]: s of a sweep in which nothing happens; update: s and J of a neuron updated; rest: J of every
    step; barrier: s."""

    run: partial
    columns: np.ndarray
    effects: sparse.csr_array
    cores: np.ndarray
    sweep: np.ndarray
    update: tuple[float, float]
    rest: float
    barrier: float
    neurons: int
    bytes_per_weight: int
    version: str

    def __call__(self) -> None:
        """One run with the price of every step, thrown away."""
        self.prices()

    def prices(self) -> tuple[np.ndarray, np.ndarray]:
        """Energy (J) and time (s) of every step, by the busiest core."""
        spikes, updated = self.spikes()
        caused = sparse.csr_array(spikes @ self.effects).toarray()
        sending, receiving, energy = caused[:, :CORES], caused[:, CORES:-1], caused[:, -1]
        sending += self.sweep
        sending[:, self.cores] += updated * self.update[0]
        seconds = np.maximum(sending.max(axis=1), receiving.max(axis=1)) + self.barrier
        return energy + updated.sum(axis=1) * self.update[1] + self.rest, seconds

    def spikes(self) -> tuple[sparse.csr_array, np.ndarray]:
        """Who fired [step, neuron], and how many neurons of each core were updated [step, core in use]."""
        bits, updated, _ = self.run()
        packed = np.asarray(bits)[0]
        steps, width = packed.shape
        used = np.flatnonzero(packed.ravel() != 0)  # few bytes hold a spike
        bit = np.flatnonzero(np.unpackbits(packed.ravel()[used], bitorder="little").view(bool))
        byte = used[bit // 8]
        lane = 8 * (byte - width * (byte // width)) + (bit & 7)  # NumPy's % is slow
        found = (np.ones(len(lane)), self.columns[lane], np.searchsorted(byte, width * np.arange(steps + 1)))
        return sparse.csr_array(found, (steps, self.neurons)), np.asarray(updated)[0]

    def counts(self) -> list[np.ndarray]:
        """All spikes together."""
        return [np.asarray([[int(self.spikes()[0].sum())]])]


def prepare(path: Path) -> Mapped:
    """The workload file at `path` ready to run. NotImplementedError: no compiled kernels."""
    with np.load(path) as file:
        network, architecture, steps = str(file["network"]), str(file["architecture"]), int(file["T"])
    return mapped(read_network(Path(network)), read_architecture(Path(architecture)), steps)


def mapped(placed: Placed, units: dict[str, dict[str, float]], steps: int) -> Mapped:
    """A placed network, what its chip's units take, and a number of steps, ready to run."""
    cores, members, net = network(placed)
    program = recurrent.prepare(net, "float64")
    if program.tables is None:
        raise NotImplementedError(f"no compiled kernels: {program.reason}")
    nothing, state = jnp.zeros((1, steps, 0), jnp.uint8), recurrent.start(program, 1, steps)
    run = partial(jax.jit(recurrent.fire), program, nothing, state)
    lanes = [np.pad(m, (0, -len(m) % recurrent.WORD), constant_values=-1) for m in members]
    unit = units["loihi_lif"]
    tiles = len(np.unique(placed.core // 4))
    return Mapped(
        run=run,
        columns=np.concatenate(lanes),
        effects=effects(placed, units),
        cores=cores,
        sweep=np.bincount(placed.core, minlength=CORES) * unit["latency_access_neuron"],
        update=(unit["latency_update_neuron"], unit["energy_update_neuron"]),
        rest=len(placed.core) * unit["energy_access_neuron"],
        barrier=max((int(least), s) for least, s in units["barrier"].items() if int(least) <= tiles)[1],
        neurons=len(placed.core),
        bytes_per_weight=8,
        version=native.kernels().isa,
    )


def network(placed: Placed) -> tuple[np.ndarray, list[np.ndarray], Network]:
    """The cores in use, their neurons, and the network with a population for each.

    Neurons of a core that hear the same neurons, or neighbours of these, stand side by side: rows are then wide.
    """
    cores = np.unique(placed.core)
    table = placed.weights.tocsr().sorted_indices()
    begin, end = table.indptr[:-1], table.indptr[1:]
    hears = begin < end
    first, last = np.full((2, len(placed.core)), -1)
    first[hears], last[hears] = table.indices[begin[hears]], table.indices[end[hears] - 1]
    order = np.lexsort((last, first, placed.core))
    members = np.split(order, np.searchsorted(placed.core[order], cores[1:]))
    place = np.empty(len(placed.core), np.int64)
    for mine in members:
        place[mine] = np.arange(len(mine))
    populations = tuple(
        Neurons(
            str(core),
            (len(mine),),
            Dynamics(
                placed.threshold[mine],
                bias=placed.bias[mine],
                decay=placed.leak[mine],
                strict=True,
                quantum=QUANTUM,
            ),
        )
        for core, mine in zip(cores, members, strict=True)
    )
    target, source, weight = table.tocoo().row, table.tocoo().col, table.data
    pair = placed.core[source] * CORES + placed.core[target]
    order = np.argsort(pair, kind="stable")
    ends = np.flatnonzero(np.diff(pair[order], prepend=-1, append=-1))
    projections = tuple(
        Projection(
            str(pair[order[a]] // CORES),
            str(pair[order[a]] % CORES),
            place[source[order[a:b]]],
            place[target[order[a:b]]],
            weight[order[a:b]],
        )
        for a, b in itertools.pairwise(ends)
    )
    return cores, members, Network("W4", populations, projections)


def effects(placed: Placed, units: dict[str, dict[str, float]]) -> sparse.csr_array:
    """What one spike of each neuron causes [neuron, effect]; see `Mapped`."""
    unit, tile, out, into = (units[name] for name in ("loihi_lif", "loihi_tile", "loihi_out", "loihi_in"))
    own = [units[name] for name in placed.synapse]
    each = {key: np.array([u[f"{key}_process_spike"] for u in own]) for key in ("latency", "energy")}
    packets = np.diff(placed.sends.indptr)
    neuron, receiver = placed.sends.nonzero()
    apart = [np.abs(a - b) for a, b in zip(position(placed.core[neuron]), position(receiver), strict=True)]
    hops = [np.bincount(neuron, n, len(packets)) for n in apart]
    spent = (
        unit["energy_spike_out"]
        + np.asarray(placed.synapses.T @ each["energy"])
        + packets * out["energy_message_out"]
        + hops[0] * tile["energy_east_hop"]
        + hops[1] * tile["energy_north_hop"]
    )
    on_core = np.zeros(CORES)
    on_core[placed.core] = each["latency"]
    received = placed.sends.tocoo()
    taken = into["latency_message_in"] + received.data * on_core[received.col]
    sent = unit["latency_spike_out"] + packets * out["latency_message_out"]
    size = len(packets)
    parts = [
        sparse.csr_array((sent, (np.arange(size), placed.core)), (size, CORES)),
        sparse.csr_array((taken, (received.row, received.col)), (size, CORES)),
        sparse.csr_array(spent[:, None]),
    ]
    return sparse.csr_array(sparse.hstack(parts))
