"""Networks given synapse by synapse, recurrent or not, on the compiled kernels; in JAX alone where there are none.

Three kinds of arithmetic: fixed (32-bit whole numbers: the integers of a chip, exact for as long as is wanted),
float64 and float32. In fixed point every spike, count and membrane is that of `neuro.trace`; in float64 too, but for
the order in which weights that arrive together are summed, which whole numbers do not notice. float32 is the fastest
and departs after some steps, as every recurrent network does when a last bit differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8

from neuro import fixed, native, rows, scanned
from neuro.dynamics import Dynamics
from neuro.errors import Unsupported
from neuro.network import Network, Neurons
from neuro.rows import Rows
from neuro.trace import Trace, batch_axes

Kind: TypeAlias = Literal["fixed", "float32", "float64"]
NUMBERS = {"fixed": np.int32, "float32": np.float32, "float64": np.float64}
WORD = 64
BLOCK = 32
"""Most steps that a word of neurons takes in a row."""
RECEPTORS = 4
"""Most that a population may have whose neurons are all alike to the kernel."""
PLACES = 2**31
PIECE = 2**21
"""Bytes of spikes after which a run tells how far it is, and can be interrupted."""
START = 3
"""Place of the start among the parameters."""
NEVER = 2**30
"""Threshold of fixed-point neurons that do not fire, and bound of membranes that have none: no state reaches it."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A network as the kernel reads it (kernels/network.h).

    populations [population, field], parameters [parameter, 2], numbers as bytes, refractory [neuron]; rows: the
    synapses of every source.
    """

    populations: Int32[Array, "population 13"]
    parameters: Int32[Array, "parameter 2"]
    numbers: UInt8[Array, " byte"]
    refractory: Int32[Array, " neuron"]
    rows: Rows


@dataclass(frozen=True, eq=False)
class Program:
    """A network made ready. tables: None where the kernels are not in use, for the reason given."""

    network: Network
    kind: Kind
    tables: Tables | None
    slots: int
    block: int
    reason: str


def prepare(network: Network, kind: Kind | None = None) -> Program:
    """`network` ready to run; by default in fixed point if it is whole-numbered, else in float64.

    Raises:
        Unsupported: fixed point for a network that is not whole-numbered.
    """
    why = fixed.obstacle(network, 1)
    if kind == "fixed" and why:
        raise Unsupported(f"{network.name} in fixed point: {why}. Use float64, or whole numbers.")
    kind = kind or ("float64" if why else "fixed")
    delays = [p.delay for p in network.projections if len(p)]
    slots, block = 1 + max(delays, default=0), 1 + min(min(delays, default=0), BLOCK - 1)
    _, width = _size(network)
    here = native.kernels()
    reason = here.reason
    if here.library is not None and slots * width >= PLACES:
        reason = f"{slots:,} steps of {width:,} currents are more than the kernel's {PLACES:,} places"
    elif here.library is not None and network.synapses >= PLACES:
        reason = f"{network.synapses:,} synapses are more than the kernel's {PLACES:,}"
    elif here.library is not None:
        return Program(network, kind, _tables(network, kind, width, slots), slots, block, reason)
    return Program(network, kind, None, slots, block, reason)


@dataclass(frozen=True, eq=False)
class State:
    """What lasts from step to step (kernels/recurrent.h): memory [sample, byte], all zero before the first step; how
    many steps it has taken; wait: the longest refractory time that matters, in steps."""

    memory: UInt8[Array, "sample byte"]
    step: Int32[Array, "1"]
    wait: int


def run(
    program: Program,
    inputs: dict[str, Bool[np.ndarray, "*batch step _"]],
    steps: int,
    told: Callable[[int], None] = lambda done: None,
) -> Trace:
    """`steps` steps of a network, every input population driven by a given spike train [*batch, step, neuron].

    A fixed-point network whose states may pass 32 bits in so many steps runs in float64, which holds them. told: called
    with the number of steps done since the last call.

    Raises:
        BadInput: a missing or unknown input, or one of another number of steps or neurons.
    """
    network = program.network
    batch = batch_axes(network, inputs, steps)
    if program.kind == "fixed" and fixed.obstacle(network, steps):
        return run(prepare(network, "float64"), inputs, steps, told)
    if program.tables is None:
        found = scanned.run(network, inputs, steps, np.float32 if program.kind == "float32" else np.float64)
        told(steps)
        return found
    samples, modelled = prod(batch), _modelled(network)
    trains = {p.name: np.asarray(inputs[p.name], bool).reshape(samples, steps, p.size) for p in network.inputs}
    entering = np.concatenate([np.zeros((samples, steps, 0), np.uint8), *map(_packed, trains.values())], axis=2)
    trains |= {p.name: np.empty((samples, steps, p.size), bool) for p in modelled}
    updated = np.empty((samples, steps, len(modelled)), np.int64)
    ends = np.cumsum([0, *map(_words, modelled)]).tolist()
    words = {p.name: slice(*pair) for p, pair in zip(modelled, pairwise(ends), strict=True)}
    piece = max(1, PIECE // (8 * max(1, samples * ends[-1]) * program.block)) * program.block
    state = start(program, samples, steps)
    for first in range(0, steps, piece):
        now = slice(first, first + piece)
        bits, updated[:, now], state = jax.jit(fire)(program, jnp.asarray(entering[:, now]), state)
        every = np.asarray(bits).reshape(*bits.shape[:2], ends[-1], 8)
        for p in modelled:
            mine = every[:, :, words[p.name]].reshape(*bits.shape[:2], 8 * _words(p))
            trains[p.name][:, now] = np.unpackbits(mine, axis=2, count=p.size, bitorder="little")
        told(min(piece, steps - first))
    last = membranes(program, state).reshape(samples, ends[-1], WORD)
    return Trace(
        {p.name: trains[p.name].reshape(*batch, steps, p.size) for p in network.populations},
        {p.name: updated[..., k].reshape(*batch, steps) for k, p in enumerate(modelled)},
        {
            p.name: last[:, words[p.name]].reshape(samples, WORD * _words(p))[:, : p.size].reshape(*batch, p.size)
            for p in modelled
        },
    )


def start(program: Program, samples: int, steps: int) -> State:
    """The state of `samples` runs of at most `steps` steps before the first one."""
    longest = max((int(_refractory(p).max()) for p in _modelled(program.network)), default=0)
    wait = min(longest, steps)
    words, width = _size(program.network)
    numbers = (program.slots + (not _merged(program))) * width + 2 * words * WORD
    size = numbers * np.dtype(NUMBERS[program.kind]).itemsize + (1 + (wait + 2 if wait else 0)) * words * 8
    return State(jnp.zeros((samples, size), jnp.uint8), jnp.zeros(1, jnp.int32), wait)


def membranes(program: Program, state: State) -> Float[np.ndarray, "sample neuron"]:
    """Membranes in `state`, populations from whole words of 64 neurons on."""
    words, width = _size(program.network)
    first = (program.slots + (not _merged(program))) * width
    numbers = np.asarray(state.memory)[:, : (first + words * WORD) * np.dtype(NUMBERS[program.kind]).itemsize]
    return numbers.view(NUMBERS[program.kind])[:, first:].astype(np.float64)


def fire(program: Program, entering: UInt8[Array, "sample step byte"], state: State) -> tuple[Array, Array, State]:
    """The kernel's call, for use under `jax.jit`; populations begin at whole words of 64 neurons.

    entering: spikes of the inputs, lowest bit first. A run goes on from `state`, which has taken a multiple of
    ``program.block`` steps. Returns the spikes of all modelled populations [sample, step, byte], neurons updated
    [sample, step, population] and the state then.

    Raises:
        Unsupported: a program without compiled kernels.
    """
    tables, network = program.tables, program.network
    if tables is None:
        raise Unsupported(f"{network.name} is not compiled: {program.reason}. Use `run`.")
    samples, steps, _ = entering.shape
    words, _ = _size(network)
    call = jax.ffi.ffi_call(
        native.target("recurrent_run", native.kernels().isa),
        (
            jax.ShapeDtypeStruct((samples, steps, words * 8), jnp.uint8),
            jax.ShapeDtypeStruct((samples, steps, len(_modelled(network))), jnp.int32),
            jax.ShapeDtypeStruct(state.memory.shape, jnp.uint8),
        ),
    )
    spikes, updated, memory = call(
        tables.populations,
        tables.parameters,
        tables.numbers,
        tables.refractory,
        tables.rows.ends,
        tables.rows.places,
        tables.rows.weights,
        entering,
        state.memory,
        state.step,
        kind=np.int32(list(NUMBERS).index(program.kind)),
        slots=np.int32(program.slots),
        block=np.int32(program.block),
        wait=np.int32(state.wait),
        merged=np.int32(_merged(program)),
        near=np.int32(tables.rows.place == "uint16"),
        weight=np.int32(rows.WEIGHTS.index(tables.rows.weight)),
        wide=np.int32(tables.rows.wide),
    )
    return spikes, updated, State(memory, state.step + steps, state.wait)


def _modelled(network: Network) -> list[Neurons]:
    return [p for p in network.populations if p.model is not None]


def _merged(program: Program) -> bool:
    """Whether what arrives may be added to the currents themselves (kernels/recurrent.h)."""
    decays = [d for p in _modelled(program.network) if p.model for d in p.model.current_decays]
    return program.slots == program.block and (program.kind != "float64" or not any(map(np.any, decays)))


def _size(network: Network) -> tuple[int, int]:
    """Words of all modelled neurons, and numbers of one slot of the ring: one for each receptor of a neuron."""
    each = [(_words(p), p.model.receptors) for p in _modelled(network) if p.model]
    return sum(w for w, _ in each), sum(w * WORD * receptors for w, receptors in each)


def _words(population: Neurons) -> int:
    """Words of 64 neurons that a population takes."""
    return -(-population.size // WORD)


def _packed(train: Bool[np.ndarray, "sample step neuron"]) -> UInt8[np.ndarray, "sample step byte"]:
    bits = np.packbits(train, axis=2, bitorder="little")
    return np.pad(bits, ((0, 0), (0, 0), (0, -bits.shape[2] % (WORD // 8))))


def _refractory(population: Neurons) -> Int32[np.ndarray, " _"]:
    """Steps, whole and one for all neurons or one for each."""
    assert population.model is not None
    return np.minimum(np.ceil(np.atleast_1d(population.model.refractory)), NEVER).astype(np.int32)


def _tables(network: Network, kind: Kind, slot: int, slots: int) -> Tables:
    number = NUMBERS[kind]
    populations, parameters, blocks, refractory = [], [], [], []
    place = 0
    for p in _modelled(network):
        model, words, waits = p.model, _words(p), _refractory(p)
        assert model is not None
        numbers = _numbers(model, kind)
        adapts = (1 if model.adapts == "threshold" else 2) if np.any(model.adaptation) else 0
        saturates, counted = np.isfinite(model.saturation), not np.all(model.bias)
        alike = all(v.size == 1 for i, v in enumerate(numbers) if i != START) and model.receptors <= RECEPTORS
        populations.append((
            words, p.size, model.receptors, model.reset == "soft", model.strict, adapts,
            bool(model.quantum), saturates, counted, waits[0] if waits.min() == waits.max() else -1, place,
            len(parameters), 0 if adapts or saturates or counted else 1 + alike,
        ))  # fmt: skip
        for values in numbers:
            parameters.append((sum(map(len, blocks)) // WORD, values.size > 1))
            blocks.append(_filled(values, words if values.size > 1 else 1))
        refractory.append(_filled(waits, words))
        place += words * WORD * model.receptors
    none = np.zeros(0, np.int32)
    return Tables(
        jnp.asarray(np.array(populations, np.int32).reshape(-1, 13)),
        jnp.asarray(np.array(parameters, np.int32).reshape(-1, 2)),
        jnp.asarray(np.concatenate([none.astype(number), *blocks]).view(np.uint8)),
        jnp.asarray(np.concatenate([none, *refractory])),
        _rows(network, kind, slot, slots),
    )


def _numbers(model: Dynamics, kind: Kind) -> list[np.ndarray]:
    """Parameters in the order of the kernel, each one number or, where neurons differ, one for each."""
    named = (
        model.threshold, model.bias, model.decay, model.start, model.adaptation, model.adaptation_decay,
        model.quantum, model.saturation, *model.current_decays,
    )  # fmt: skip
    values = [np.atleast_1d(np.asarray(value, np.float64)) for value in named]
    values = [v[:1] if (v == v[:1]).all() else v for v in values]  # one number is read once
    if kind == "fixed":
        scaled = {2, 5, *range(8, len(values))}
        values = [v * fixed.UNIT if i in scaled else np.minimum(v, NEVER) for i, v in enumerate(values)]
    values = [v.astype(NUMBERS[kind]) for v in values]
    values.insert(8, _beyond(values[0]) if model.strict else values[0])
    return values


def _beyond(threshold: np.ndarray) -> np.ndarray:
    """The next larger number."""
    return threshold + 1 if threshold.dtype == np.int32 else np.nextafter(threshold, np.inf, dtype=threshold.dtype)


def _filled(values: np.ndarray, words: int) -> np.ndarray:
    """Values of `words` words of neurons; the last is repeated beyond the population."""
    return np.pad(values, (0, words * WORD - len(values)), mode="edge")


def _rows(network: Network, kind: Kind, slot: int, slots: int) -> Rows:
    """Synapses by source; a place is that in the ring, counted from the slot of the next step."""
    first, place, source = {}, {}, {}
    neurons = at = 0
    for p in (*_modelled(network), *network.inputs):
        source[p.name], neurons = neurons, neurons + _words(p) * WORD
        if p.model is not None:
            first[p.name], at = at, at + _words(p) * WORD * p.model.receptors
            place[p.name] = _words(p) * WORD
    places = slots * slot
    key, weight = np.empty(network.synapses, np.int64), np.empty(network.synapses, NUMBERS[kind])
    ends = np.cumsum([0, *map(len, network.projections)])
    for p, mine in zip(network.projections, map(slice, ends[:-1], ends[1:]), strict=True):
        to = p.delay * slot + first[p.target] + p.receptor * place[p.target]
        key[mine], weight[mine] = (source[p.source] + p.pre) * places + to + p.post, p.weight
    return rows.pack(key, weight, neurons, places)


jax.tree_util.register_dataclass(
    Tables,
    ["populations", "parameters", "numbers", "refractory", "rows"],
    [],
)
jax.tree_util.register_dataclass(State, ["memory", "step"], ["wait"])
jax.tree_util.register_dataclass(Program, ["tables"], ["network", "kind", "slots", "block", "reason"])
