"""A spiking graph on the fastest engine there is: prepared once, then run on batches inside `jax.jit`.

Compiled kernels where they can be had (see `neuro.native`) and know every layer of the graph, pure JAX otherwise.

A population runs all its steps before the next one starts. Under an exact code the stage behind the input integrates
its counts at once, as `neuro.simulate` does; all other stages work on spikes, event by event. Both engines give the
same spikes: `neuro.simulate` is the oracle of this one.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro import codes, native
from neuro.entering import Entering, entering
from neuro.errors import BadInput
from neuro.evaluate import stepped
from neuro.graph import Graph, Node
from neuro.layers import GROUPED, Input, MaxPool, MultiThreshold, Product, Scale, Threshold
from neuro.schedule import Schedule
from neuro.simulate import Run, simulate
from neuro.stages import bounds, populations, propagate, sources
from neuro.synaptic import Synapses, fire, synapses
from neuro.taps import Layout, NoTaps, by_channel, taps, windows
from neuro.trains import Packed, counts, lanes, placed, unplaced

RATE_SOFT, RATE_HARD, UNARY, BITS, SUM, SUM_BITS = range(6)
"""What `fire` does with a membrane; see kernels/fire.h."""
COMPILED: dict[codes.Code, int] = {"unary": UNARY, "bits": BITS, "rate": RATE_SOFT}
"""Codes that the kernels know, and how a neuron fires under each."""
LARGEST = 2**31 - 1


@partial(jax.tree_util.register_dataclass, data_fields=["ends", "members"], meta_fields=["source"])
@dataclass(frozen=True, eq=False)
class Pool:
    """A max-pool: its source, and the source positions of every window, one after the other."""

    source: str
    ends: np.ndarray | Array
    members: np.ndarray | Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["neurons", "synapses", "pool", "entering"],
    meta_fields=["node", "layout", "biased"],
)
@dataclass(frozen=True, eq=False)
class Stage:
    """One population ready to run. neurons [3, 1 or position, lane]: threshold, bias, start. synapses: None where its
    membrane is computed at once from input counts; entering: by a kernel. biased: whether any bias is not zero."""

    node: Node
    layout: Layout
    neurons: np.ndarray | Array
    biased: bool = False
    synapses: Synapses | None = None
    pool: Pool | None = None
    entering: Entering | None = None


@partial(jax.tree_util.register_dataclass, data_fields=["stages"], meta_fields=["graph"])
@dataclass(frozen=True, eq=False)
class Program:
    """A graph prepared for the compiled kernels; called on a batch it gives a `Run` whose spikes are `Packed`.

    It is a pytree of its weights and tables: an argument of a jitted function, not a constant in it.
    """

    graph: Graph
    stages: tuple[Stage, ...]

    def __call__(self, batch: Float[Array, "batch ..."], limit: float = float("inf")) -> Run:
        """As `neuro.simulate.simulate`."""
        return _run(self, batch, limit)


def prepare(graph: Graph) -> Program:
    """`graph`, which carries a schedule, as tables and weights that the compiled kernels read.

    Raises:
        NoKernels: there is no compiled library, or it does not know the code. NoTaps: a stage that the kernels have no
        form for. BadInput: a membrane that could leave 32 bits.
    """
    if (here := native.kernels()).library is None:
        raise native.NoKernels(here.reason)
    schedule = _schedule(graph)
    if schedule.code not in COMPILED:
        raise native.NoKernels(f"no compiled kernel runs the {schedule.code} code; {', '.join(COMPILED)} have one")
    if other := [n.name for n in graph.nodes if isinstance(n.op, (Product, *GROUPED))]:
        raise native.NoKernels(
            f"no compiled kernel runs products, softmax and norms of populations: {', '.join(other)}"
        )
    _check(graph, schedule)
    layouts: dict[str, Layout] = {}
    stages: list[Stage] = []
    for node in populations(graph):
        if isinstance(node.op, Input):
            made = Stage(node, by_channel(node.op.shape), np.zeros((3, 1, 0)))
            made = replace(made, neurons=_input_neurons(node.op, made.layout, schedule))
        elif isinstance(node.op, MaxPool):
            source, layout, members = windows(graph, node.name, layouts)
            ends = np.cumsum([0, *(len(m) for m in members)]).astype(np.int32)
            made = Stage(node, layout, np.zeros((3, 1, 0)), pool=Pool(source, ends, np.concatenate(members)))
        else:
            found = taps(graph, node.name, layouts)
            at_once = codes.is_exact(schedule.code) and found.sources == (graph.input.name,)
            width = native.lane_bytes()
            ready = None if at_once else synapses(found, [layouts[s] for s in found.sources], width)
            waits = isinstance(node.op, MultiThreshold)  # it sends from its value, not from its synapses
            size = ready.lanes if ready and not waits else lanes(found.layout)
            neurons = _neurons(node, found.layout, schedule, size)
            product = entering(graph, node.name) if at_once and isinstance(node.op, Threshold) else None
            made = Stage(node, found.layout, neurons, bool(neurons[1].any()), ready, entering=product)
        layouts[node.name] = made.layout
        stages.append(made)
    return jax.device_put(Program(graph, tuple(stages)))  # once: what stays in NumPy is copied for every batch


def _check(graph: Graph, schedule: Schedule) -> None:
    for name, largest in bounds(graph).items():
        steps = max(schedule.windows[s].steps for s in sources(graph, name)) if schedule.code == "rate" else 1
        if largest * steps > LARGEST:
            raise BadInput(
                f"{graph.name}: the membrane of {name!r} could reach {largest * steps:.3g}, beyond 32 bits; "
                "use fewer levels, bits or steps."
            )


def _neurons(node: Node, layout: Layout, schedule: Schedule, size: int) -> np.ndarray:
    """Threshold, bias of every step and start of every lane [3, 1 or position, lane]; spare lanes never fire."""
    op = node.op
    if isinstance(op, MultiThreshold):  # sends its value as a neuron of threshold one
        threshold, start, each_step = (np.full((1,), v, np.int64) for v in (1, 0, 0))
    elif isinstance(op, Threshold):
        threshold, bias = op.threshold, op.bias
        start = op.initial + (0 if schedule.code == "rate" else bias)
        each_step = bias if schedule.code == "rate" else np.zeros_like(bias)
    else:
        assert isinstance(op, Scale)
        threshold, start = np.full((1,), LARGEST), np.zeros((1,), np.int64)
        each_step = op.offset if schedule.code == "rate" else np.zeros((1,), np.int64)
    rows = []
    for value, spare in ((threshold, 1), (each_step, 0), (start, 0)):
        full = np.broadcast_to(value, layout.shape).reshape(-1)[layout.neurons]
        rows.append(np.pad(full, ((0, 0), (0, size - full.shape[1])), constant_values=spare))
    found = np.stack(rows).astype(np.int32)
    return found[:, :1] if (found == found[:, :1]).all() else found


def _input_neurons(op: Input, layout: Layout, schedule: Schedule) -> np.ndarray:
    """Neurons of threshold one, or under the rate code of as many as there are levels, half of them at the start."""
    threshold, start = (op.levels, op.levels // 2) if schedule.code == "rate" else (1, 0)
    one = np.array([threshold, 0, start], np.int32)[:, None, None]
    return np.broadcast_to(one, (3, 1, lanes(layout))).copy()


def _schedule(graph: Graph) -> Schedule:
    if graph.schedule is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    return graph.schedule


def _run(program: Program, batch: Array, limit: float) -> Run:
    graph = program.graph
    schedule = _schedule(graph)
    emits = COMPILED[schedule.code]
    doubles = schedule.code == "bits"
    trains: dict[str, Packed] = {}
    peak = jnp.zeros(batch.shape[0], jnp.float32)
    output = None
    for stage in program.stages:
        name, op = stage.node.name, stage.node.op
        reached = None
        if isinstance(op, Input):
            steps = schedule.windows[name].steps
            drive = unplaced(batch.astype(jnp.int32), stage.layout)
            trains[name], _ = driven(drive, stage.neurons, stage.layout, emits, steps, op.levels, False, False)
        elif stage.pool is not None:
            trains[name] = pooled(stage.pool, trains[stage.pool.source], stage.layout, doubles)
        elif isinstance(op, MultiThreshold):
            membrane = _summed(program, stage, trains, batch, doubles)
            drive = unplaced(stepped(op, membrane), stage.layout)
            trains[name], _ = driven(drive, stage.neurons, stage.layout, emits, schedule.windows[name].steps, op.levels)
        elif isinstance(op, Threshold):
            steps = schedule.windows[name].steps
            mode = RATE_HARD if emits == RATE_SOFT and op.reset == "zero" else emits
            if stage.synapses is None:
                if stage.entering is None:
                    arrived = propagate(graph, name, {graph.input.name: batch}).astype(jnp.int32)
                    drive = unplaced(arrived, stage.layout)
                else:
                    drive = stage.entering(batch)
                trains[name], reached = driven(drive, stage.neurons, stage.layout, mode, steps, op.levels, stage.biased)
            else:
                fired = fire(stage.synapses, stage.neurons, stage.biased, trains, mode, steps, op.levels, limit)
                trains[name], reached = Packed(fired.bits, stage.layout), fired.peak
        elif stage.synapses is None:
            arrived = propagate(graph, name, {graph.input.name: batch})  # the read-out's offset among it
            output = arrived
        else:
            assert isinstance(op, Scale)
            mode = SUM_BITS if doubles else SUM
            fired = fire(stage.synapses, stage.neurons, stage.biased, trains, mode, 0, 0, limit)
            output, reached = placed(fired.membrane, stage.layout).astype(jnp.float32), fired.peak
            if schedule.code != "rate":
                output = output + jnp.asarray(op.offset, jnp.float32)[None]
        if reached is not None and schedule.code == "rate":
            peak = jnp.maximum(peak, reached.astype(jnp.float32))
    if output is None:
        output = counts(trains[graph.output.name], doubles).astype(jnp.float32)
    return Run(trains, output, peak)


def _summed(program: Program, stage: Stage, trains: dict[str, Packed], batch: Array, doubles: bool) -> Array:
    """The membranes of a population that waits for its whole input, int32 [batch, *shape]."""
    if stage.synapses is None:
        graph = program.graph
        return propagate(graph, stage.node.name, {graph.input.name: batch}).astype(jnp.int32)
    mode = SUM_BITS if doubles else SUM
    never = np.array([LARGEST, 0, 0], np.int32)[:, None, None]
    silent = np.broadcast_to(never, (3, 1, stage.synapses.lanes)).copy()
    return placed(fire(stage.synapses, silent, False, trains, mode, 0, 0).membrane, stage.layout)


def driven(
    drive: Array,
    neurons: np.ndarray | Array,
    layout: Layout,
    mode: int,
    steps: int,
    levels: int,
    biased: bool = True,
    watched: bool = True,
) -> tuple[Packed, Array]:
    """Trains of neurons whose drive [batch, position, lane] is known, int32 or float32, and their largest membranes.

    Under the rate code the drive is that of every step, under a window code it comes at once. neurons: as in `Stage`.
    biased, watched: whether any bias is not zero, and whether the largest membranes are wanted under the rate code.
    """
    batch, positions, width = drive.shape
    shapes = (
        jax.ShapeDtypeStruct((batch, positions, steps, width // 8), jnp.uint8),
        jax.ShapeDtypeStruct((batch,), drive.dtype),
    )
    call = jax.ffi.ffi_call(native.target(f"drive_{drive.dtype}", native.kernels().isa), shapes)
    bits, peak = call(
        drive,
        jnp.asarray(neurons, drive.dtype),
        mode=np.int32(mode),
        levels=np.int32(levels),
        biased=np.int32(biased),
        watched=np.int32(watched),
        limit=np.float64("inf"),
    )
    return Packed(bits, layout), peak


def pooled(pool: Pool, source: Packed, layout: Layout, doubles: bool) -> Packed:
    """Max-pool on trains; doubles: they are binary numbers, first bit highest."""
    batch, _, steps, size = source.bits.shape
    shape = jax.ShapeDtypeStruct((batch, len(pool.ends) - 1, steps, size), jnp.uint8)
    call = jax.ffi.ffi_call(native.target("pool", native.kernels().isa), shape)
    ends, members = (jnp.asarray(a, jnp.int32) for a in (pool.ends, pool.members))
    return Packed(call(source.bits, ends, members, serial=np.int32(doubles)), layout)


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["graph"])
@dataclass(frozen=True, eq=False)
class Plain:
    """A graph that pure JAX runs; called on a batch it gives a `Run` whose spikes are booleans."""

    graph: Graph

    def __call__(self, batch: Float[Array, "batch ..."], limit: float = float("inf")) -> Run:
        """As `neuro.simulate.simulate`."""
        return simulate(self.graph, batch, limit)


def engine(graph: Graph) -> tuple[Program | Plain, str]:
    """`graph` on the fastest engine that can run it, and a line that says which that is and why."""
    try:
        return prepare(graph), f"compiled kernels ({native.kernels().isa})"
    except (native.NoKernels, NoTaps) as why:
        return Plain(graph), f"pure JAX: {why}"
