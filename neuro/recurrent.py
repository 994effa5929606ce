"""Networks given synapse by synapse, recurrent or not, on the compiled kernels; in JAX alone where there are none.

Three kinds of arithmetic: fixed (32-bit whole numbers: the integers of a chip, exact for as long as is wanted),
float64 and float32. In fixed point every spike, count and membrane is that of `neuro.trace`; in float64 too, but for
the order in which weights that arrive together are summed, which whole numbers do not notice. float32 is the fastest
and departs after some steps, as every recurrent network does when a last bit differs.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8

from neuro import fixed, native, scanned
from neuro.dynamics import Dynamics
from neuro.errors import Unsupported
from neuro.network import Network, Neurons
from neuro.trace import Trace, batch_axes

Kind: TypeAlias = Literal["fixed", "float32", "float64"]
NUMBERS = {"fixed": np.int32, "float32": np.float32, "float64": np.float64}
WORD = 64
BLOCK = 32
"""Most steps that a word of neurons takes in a row."""
RECEPTORS = 4
"""Most that a population may have whose neurons are all alike to the kernel."""
PLACES = 2**31
NEAR = 2**16
"""Places that 16 bits tell apart."""
WEIGHTS = ("row", "int16", "float32", "number")
"""How weights are stored: one for all synapses of a source, or each in the smallest kind that holds all of them;
number is the kind that the network computes in."""
START = 3
"""Place of the start among the parameters."""
NEVER = 2**30
"""Threshold of fixed-point neurons that do not fire, and bound of membranes that have none: no state reaches it."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A network as the kernel reads it (kernels/network.h).

    populations [population, field], parameters [parameter, 2], numbers, synapses and row_weights as bytes, refractory
    [neuron], rows [source + 1]. row_weights: of a source, where all its synapses weigh the same, else none. stored:
    types of a synapse's place and weight (`WEIGHTS`).
    """

    populations: Int32[Array, "population 13"]
    parameters: Int32[Array, "parameter 2"]
    numbers: UInt8[Array, " byte"]
    refractory: Int32[Array, " neuron"]
    rows: Int32[Array, " source_and_1"]
    synapses: UInt8[Array, " byte_of_synapse"]
    row_weights: UInt8[Array, " byte_of_row"]
    stored: tuple[str, str]


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
    width = sum(_words(p) * WORD * p.model.receptors for p in network.populations if p.model is not None)
    here = native.kernels()
    reason = here.reason
    if here.library is not None and slots * width >= PLACES:
        reason = f"{slots:,} steps of {width:,} currents are more than the kernel's {PLACES:,} places"
    elif here.library is not None and network.synapses >= PLACES:
        reason = f"{network.synapses:,} synapses are more than the kernel's {PLACES:,}"
    elif here.library is not None:
        return Program(network, kind, _tables(network, kind, width, slots), slots, block, reason)
    return Program(network, kind, None, slots, block, reason)


def run(program: Program, inputs: dict[str, Bool[np.ndarray, "*batch step _"]], steps: int) -> Trace:
    """`steps` steps of a network, every input population driven by a given spike train [*batch, step, neuron].

    A fixed-point network whose states may pass 32 bits in so many steps runs in float64, which holds them.

    Raises:
        BadInput: a missing or unknown input, or one of another number of steps or neurons.
    """
    network = program.network
    batch = batch_axes(network, inputs, steps)
    if program.kind == "fixed" and fixed.obstacle(network, steps):
        return run(prepare(network, "float64"), inputs, steps)
    if program.tables is None:
        return scanned.run(network, inputs, steps, np.float32 if program.kind == "float32" else np.float64)
    samples = prod(batch)
    trains = [_packed(np.asarray(inputs[p.name]).reshape(samples, steps, p.size)) for p in network.inputs]
    entering = np.concatenate([np.zeros((samples, steps, 0), np.uint8), *trains], axis=2)
    bits, updated, last = (np.asarray(found) for found in jax.jit(fire)(program, jnp.asarray(entering)))
    spikes = {p.name: np.asarray(inputs[p.name], bool) for p in network.inputs}
    counts, membranes, word = {}, {}, 0
    numbers = last.view(NUMBERS[program.kind]).astype(np.float64)
    for k, p in enumerate(_modelled(network)):
        mine = bits[..., word * 8 : (word + _words(p)) * 8]
        train = np.unpackbits(mine, axis=2, count=p.size, bitorder="little").view(bool)
        spikes[p.name] = train.reshape(*batch, steps, p.size)
        counts[p.name] = updated[..., k].astype(np.int64).reshape(*batch, steps)
        membranes[p.name] = numbers[:, word * WORD : word * WORD + p.size].reshape(*batch, p.size)
        word += _words(p)
    return Trace({p.name: spikes[p.name] for p in network.populations}, counts, membranes)


def fire(program: Program, entering: UInt8[Array, "sample step byte"]) -> tuple[Array, Array, Array]:
    """The kernel's call, for use under `jax.jit`; populations begin at whole words of 64 neurons.

    entering: spikes of the inputs, lowest bit first. Returns those of all modelled populations [sample, step, byte],
    neurons updated [sample, step, population] and last membranes [sample, byte of the number].

    Raises:
        Unsupported: a program without compiled kernels.
    """
    tables, network = program.tables, program.network
    if tables is None:
        raise Unsupported(f"{network.name} is not compiled: {program.reason}. Use `run`.")
    samples, steps, _ = entering.shape
    populations = _modelled(network)
    words = sum(_words(p) for p in populations)
    number = NUMBERS[program.kind]
    longest = max((int(_refractory(p).max()) for p in populations), default=0)
    call = jax.ffi.ffi_call(
        native.target("recurrent_run", native.kernels().isa),
        (
            jax.ShapeDtypeStruct((samples, steps, words * 8), jnp.uint8),
            jax.ShapeDtypeStruct((samples, steps, len(populations)), jnp.int32),
            jax.ShapeDtypeStruct((samples, words * WORD * np.dtype(number).itemsize), jnp.uint8),
        ),
    )
    spikes, updated, last = call(
        tables.populations,
        tables.parameters,
        tables.numbers,
        tables.refractory,
        tables.rows,
        tables.synapses,
        tables.row_weights,
        entering,
        kind=np.int32(list(NUMBERS).index(program.kind)),
        slots=np.int32(program.slots),
        block=np.int32(program.block),
        wait=np.int32(min(longest, steps)),
        merged=np.int32(program.slots == program.block and program.kind != "float64"),
        near=np.int32(tables.stored[0] == "uint16"),
        weight=np.int32(WEIGHTS.index(tables.stored[1])),
    )
    return spikes, updated, last


def _modelled(network: Network) -> list[Neurons]:
    return [p for p in network.populations if p.model is not None]


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
        *_synapses(network, kind, slot, slots),
    )


def _numbers(model: Dynamics, kind: Kind) -> list[np.ndarray]:
    """Parameters in the order of the kernel, each one number or one for each neuron."""
    named = (
        model.threshold, model.bias, model.decay, model.start, model.adaptation, model.adaptation_decay,
        model.quantum, model.saturation, *model.current_decays,
    )  # fmt: skip
    values = [np.atleast_1d(np.asarray(value, np.float64)) for value in named]
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


def _synapses(network: Network, kind: Kind, slot: int, slots: int) -> tuple[Array, Array, Array, tuple[str, str]]:
    """The last fields of `Tables`: synapses (place in the ring, weight) by source and place."""
    first, place, source = {}, {}, {}
    neurons = at = 0
    for p in (*_modelled(network), *network.inputs):
        source[p.name], neurons = neurons, neurons + _words(p) * WORD
        if p.model is not None:
            first[p.name], at = at, at + _words(p) * WORD * p.model.receptors
            place[p.name] = _words(p) * WORD
    none = np.zeros(0, np.int64)
    pre = np.concatenate([none, *(source[p.source] + p.pre for p in network.projections)])
    post = np.concatenate([
        none,
        *(p.delay * slot + first[p.target] + p.receptor * place[p.target] + p.post for p in network.projections),
    ])  # fmt: skip
    order = np.argsort(pre * (slots * slot) + post)  # one key: several times as fast as two
    number = NUMBERS[kind]
    weight = np.concatenate([none.astype(number), *(p.weight for p in network.projections)]).astype(number)[order]
    pre, post = pre[order], post[order]
    rows = np.searchsorted(pre, np.arange(neurons + 1)).astype(np.int32)
    place = "uint16" if slots * slot < NEAR else "uint32"
    alike = bool((weight[1:] == weight[:-1])[pre[1:] == pre[:-1]].all())
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit comes back as another number
        fits = [alike, *(bool((weight == weight.astype(small).astype(number)).all()) for small in WEIGHTS[1:3])]
    how = WEIGHTS[fits.index(True)] if any(fits) else "number"
    fields = [("place", place)] if alike else [("place", place), ("weight", number if how == "number" else how)]
    found = np.zeros(len(pre), np.dtype(fields))  # type: ignore[arg-type]
    found["place"] = post
    of_row = np.zeros(neurons if alike else 0, number)
    if alike:
        of_row[pre] = weight
    else:
        found["weight"] = weight
    return jnp.asarray(rows), jnp.asarray(found.view(np.uint8)), jnp.asarray(of_row.view(np.uint8)), (place, how)


jax.tree_util.register_dataclass(
    Tables,
    ["populations", "parameters", "numbers", "refractory", "rows", "synapses", "row_weights"],
    ["stored"],
)
jax.tree_util.register_dataclass(Program, ["tables"], ["network", "kind", "slots", "block", "reason"])
