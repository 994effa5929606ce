"""Exact codes against an integer oracle, and the schedule against a simulator that knows only global time steps."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import at_once, encode
from neuro.codes import CODES, is_exact
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, MaxPool, Scale, Threshold, output_shape
from neuro.schedule import Window
from neuro.simulate import simulate
from neuro.stages import populations, sources, stage

EXACT = [code for code in CODES if is_exact(code)]
LEVELS, ENTERING = [1, 3, 5, 7, 15], [7, 16, 1, 4, 15]
STRUCTURES = 10  # two at every level; more shapes would only take longer to compile
SEEDS = st.integers(0, 2**32 - 1)


def decoded(code: str, spikes: np.ndarray) -> np.ndarray:
    """The count that a window of spikes stands for, in int64."""
    remaining = np.arange(len(spikes), 0, -1)
    weights = {"bits": 2 ** (remaining - 1), "naf": 2 ** (remaining - 1), "ttfs": remaining}
    return np.tensordot(weights.get(code, remaining**0), spikes.astype(np.int64), axes=1)


def mismatches(graph: Graph, code: str, counts: np.ndarray, want: dict[str, np.ndarray]) -> tuple[int, int]:
    """Values of the spiking run that differ from `want`, and how many were compared."""
    run = simulate(encode(graph, code), jnp.asarray(counts, jnp.float32))
    assert set(run.spikes) == {n.name for n in populations(graph)[:-1]}
    got = {name: decoded(code, np.asarray(s)) for name, s in run.spikes.items()}
    got[graph.output.name] = np.asarray(run.output)
    wrong = sum(int((got[name] != want[name]).sum()) for name in got)
    return wrong, sum(v.size for v in got.values())


def drawn(random_network, seed: int, rich: bool = False) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(seed)
    entering = ENTERING[seed % len(ENTERING)]
    graph = random_network(seed % STRUCTURES, rng, LEVELS[seed % len(LEVELS)], entering, rich)
    return graph, rng.integers(0, entering + 1, (3, 2, 6, 5))


@settings(max_examples=20)
@given(seed=SEEDS, code=st.sampled_from(EXACT))
def test_spike_counts_equal_the_integer_network(seed, code, random_network, numpy_evaluate):
    graph, counts = drawn(random_network, seed)
    with jax.disable_jit():  # compiled once an operator and shape, not once a network
        assert mismatches(graph, code, counts, numpy_evaluate(graph, counts))[0] == 0


def test_no_mismatch_in_many_networks(random_network, numpy_evaluate):
    """NEURO_NETWORKS says how many; every other one has concatenations and neurons of several thresholds."""
    wrong = compared = active = 0
    number = int(os.environ.get("NEURO_NETWORKS", "60"))
    for seed in range(number):
        graph, counts = drawn(random_network, seed, rich=seed // STRUCTURES % 2 == 1)
        want = numpy_evaluate(graph, counts)
        inner = [n.name for n in populations(graph)[1:-1]]
        active += sum(((v > 0) & (v < v.max())).sum() for v in (want[name] for name in inner))
        with jax.disable_jit():
            for code in np.roll(EXACT, -seed)[:2].tolist():  # all of them in turns
                found, size = mismatches(graph, code, counts, want)
                wrong, compared = wrong + found, compared + size
    print(f"{number} networks, {compared:,} values, {wrong} differ")
    assert wrong == 0
    assert compared > 500 * number
    assert active > 25 * number  # neither silent nor saturated networks


@settings(max_examples=10)
@given(seed=SEEDS, levels=st.integers(1, 69), code=st.sampled_from(EXACT))
def test_any_number_of_levels_is_exact(seed, levels, code, random_network, numpy_evaluate):
    rng = np.random.default_rng(seed)
    entering = int(rng.integers(1, 70))
    graph = random_network(seed % STRUCTURES, rng, levels, entering)
    counts = rng.integers(0, entering + 1, (3, 2, 6, 5))
    wrong, compared = mismatches(graph, code, counts, numpy_evaluate(graph, counts))
    assert (wrong, compared > 100) == (0, True)


@pytest.mark.parametrize("code", EXACT)
def test_compiled_run_is_exact_too(code, random_network, numpy_evaluate):
    for seed in range(2):
        graph, counts = drawn(random_network, seed)
        wrong, compared = mismatches(graph, code, counts, numpy_evaluate(graph, counts))
        assert wrong == 0
        assert compared


def in_global_time(graph: Graph, counts: np.ndarray, numpy_apply) -> tuple[dict, np.ndarray]:
    """A spiking graph run one global step after the other from its schedule alone.

    A spike sent in step t is integrated in step t + 1 + delay. Until its window begins a neuron integrates (doubling
    its membrane in each step under bits and naf, climbing by all that has arrived under ttfs); in the window it fires,
    and the input holds its counts as membrane. Result: spikes [step, batch, ...] by population over all steps, and the
    read-out's membrane after the last one.
    """
    schedule = graph.schedule
    code = schedule.code
    order = populations(graph)
    names = [n.name for n in order]
    sent = {n: np.zeros((schedule.total, len(counts), *graph.shapes[n]), np.int64) for n in names}
    membrane = {n: np.zeros((len(counts), *graph.shapes[n]), np.int64) for n in names}
    slope = {n: np.zeros((len(counts), *graph.shapes[n]), np.int64) for n in names}
    alive, passed = {}, {}
    membrane["in"] = counts * (1 if code != "rate" else 0) + (graph.input.op.levels // 2 if code == "rate" else 0)
    for t in range(schedule.total):
        for node in order:
            op, name = node.op, node.name
            window = schedule.windows.get(name)
            firing = window is not None and window.start <= t < window.end
            heard = {}
            for source in sources(graph, name) if node.inputs else []:
                t_sent = t - 1 - schedule.delays[source, name]
                silence = np.zeros_like(sent[source][0])
                heard[source] = sent[source][t_sent] if t_sent >= 0 else silence
                if firing and is_exact(code) and not isinstance(op, MaxPool) and t > window.start:
                    assert not heard[source].any(), f"{name} hears {source} while it fires"
            arriving = arrive(graph, node, heard, numpy_apply) if node.inputs else None
            if isinstance(op, Input):
                if firing and code == "rate":
                    membrane[name] = membrane[name] + counts
                    sent[name][t] = membrane[name] >= op.levels
                    membrane[name] = membrane[name] - op.levels * sent[name][t]
                elif firing:
                    sent[name][t], membrane[name] = fired(code, membrane[name], 1, op.levels, window.end - t)
            elif isinstance(op, MaxPool):
                if not firing:
                    assert not arriving.any()
                elif code == "ttfs":
                    first = passed.setdefault(name, np.zeros(sent[name][t].shape, bool))
                    sent[name][t] = numpy_apply(op, arriving) * ~first
                    passed[name] = first | (sent[name][t] > 0)
                elif code in ("bits", "naf"):
                    alive.setdefault(name, np.ones_like(arriving))
                    sent[name][t], alive[name] = compared(op, arriving, alive[name])
                else:
                    sent[name][t] = numpy_apply(op, arriving)
            elif not isinstance(op, Threshold):
                membrane[name], slope[name] = integrated(code, membrane[name], slope[name], arriving)
            elif code == "rate":
                if not firing:
                    assert not arriving.any()
                    continue
                if t == window.start:
                    membrane[name] = membrane[name] + op.threshold // 2
                membrane[name] = membrane[name] + arriving + op.bias
                sent[name][t] = membrane[name] >= op.threshold
                membrane[name] = membrane[name] - op.threshold * sent[name][t]
            else:
                if t <= window.start:
                    membrane[name], slope[name] = integrated(code, membrane[name], slope[name], arriving)
                if t == window.start:
                    lifted = membrane[name] + op.bias + op.threshold // 2
                    membrane[name] = np.clip(lifted, 0, (op.levels + 1) * op.threshold - 1)
                if firing:
                    sent[name][t], membrane[name] = fired(code, membrane[name], op.threshold, op.levels, window.end - t)
    last = graph.output
    times = schedule.windows["in"].steps if code == "rate" else 1
    return sent, membrane[last.name] + times * last.op.offset


def integrated(code: str, v: np.ndarray, slope: np.ndarray, arriving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Membrane and slope a step later."""
    if code == "ttfs":
        return v + slope + arriving, slope + arriving
    return (2 if code in ("bits", "naf") else 1) * v + arriving, slope


def fired(code: str, v: np.ndarray, th, levels: int, remaining: int) -> tuple[np.ndarray, np.ndarray]:
    """What a neuron sends in one step of its window, with `remaining` steps to go, and its membrane after that."""
    if code == "graded":
        return np.minimum(v // th, levels), v
    if code == "ttfs":
        fires = v >= th * remaining
        return fires, np.where(fires, -1, v)  # once: it stays below all that is still to come
    unit = th * 2 ** (remaining - 1) if code in ("bits", "naf") else th
    if code != "naf":
        return v >= unit, v - unit * (v >= unit)
    least = 2**remaining // 3 + 1
    digit = np.where(v >= least * th, 1, 0) - np.where(v < (1 - least) * th, 1, 0)
    return digit, v - unit * digit


def arrive(graph: Graph, target: Node, heard: dict, numpy_apply) -> np.ndarray:
    """Input current of a population from what its sources sent; the read-out's bias is not a current."""
    values = dict(heard)
    for node in stage(graph, target.name):
        if node.name != target.name:
            values[node.name] = numpy_apply(node.op, *(values[i] for i in node.inputs))
    return values[target.inputs[0]]


def compared(op: MaxPool, bits: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest digit of each window among members that are alive, and who stays so; `alive` [batch, *shape, window]."""
    if alive.ndim == bits.ndim:
        alive = np.ones((*bits.shape, 1), np.int64) * alive[..., None]
    sizes = output_shape(op, [bits.shape[1:]])[1:]
    number = int(np.prod(sizes))
    if alive.shape[-1] == 1:
        alive = np.repeat(alive, number, axis=-1)
    won = np.zeros((*bits.shape[:2], number), np.int64)
    for k, position in enumerate(np.ndindex(*sizes)):
        starts = [p * s - a for p, s, (a, _) in zip(position, op.stride, op.pads, strict=True)]
        cut = tuple(slice(max(0, i), i + n) for i, n in zip(starts, op.kernel, strict=True))
        here = (slice(None), slice(None), *cut)
        spikes = np.where(alive[(*here, k)], bits[here], -2)
        best = spikes.reshape(*spikes.shape[:2], -1).max(axis=2)
        won[:, :, k] = best
        alive[(*here, k)] *= spikes == best.reshape(*best.shape, *(1,) * (bits.ndim - 2))
    return won.reshape(*bits.shape[:2], *sizes), alive


@given(seed=SEEDS, code=st.sampled_from(EXACT))
def test_schedule_alone_gives_the_integer_network(seed, code, random_network, numpy_apply, numpy_evaluate):
    graph, counts = drawn(random_network, seed)
    want = numpy_evaluate(graph, counts)
    spiking = encode(graph, code)
    sent, output = in_global_time(spiking, counts, numpy_apply)
    for name, window in spiking.schedule.windows.items():
        outside = np.ones(spiking.schedule.total, bool)
        outside[window.start : window.end] = False
        assert not sent[name][outside].any()
        np.testing.assert_array_equal(decoded(code, sent[name][window.start : window.end]), want[name], err_msg=name)
    np.testing.assert_array_equal(output, want[graph.output.name])


@settings(max_examples=15)
@given(seed=SEEDS)
def test_rate_code_in_global_time_gives_the_same_spikes(seed, random_network, numpy_apply):
    rng = np.random.default_rng(seed)
    graph = random_network(seed % STRUCTURES, rng, 7, 5)
    counts = rng.integers(0, 6, (3, 2, 6, 5))
    spiking = encode(graph, "rate", input_steps=9)
    sent, output = in_global_time(spiking, counts, numpy_apply)
    with jax.disable_jit():
        run = simulate(spiking, jnp.asarray(counts, jnp.float32))
    for name, spikes in run.spikes.items():
        window = spiking.schedule.windows[name]
        assert window.steps == 9
        np.testing.assert_array_equal(sent[name][window.start : window.end], np.asarray(spikes), err_msg=name)
    np.testing.assert_array_equal(output, np.asarray(run.output))


@given(seed=SEEDS, code=st.sampled_from(CODES))
def test_samples_a_period_apart_do_not_meet(seed, code, random_network):
    """With one membrane a neuron integrates and fires for one sample before the next one's first spike is due; with
    two it integrates one while it fires for the other, but never two samples in one membrane."""
    graph, _ = drawn(random_network, seed)
    spiking = encode(graph, code, input_steps=6 if code == "rate" else None)
    schedule = spiking.schedule
    for node in populations(spiking):
        window = schedule.windows.get(node.name)
        heard = [schedule.windows[s].start + schedule.delays[s, node.name] + 1 for s in sources(spiking, node.name)]
        ends = [schedule.windows[s].end + schedule.delays[s, node.name] for s in sources(spiking, node.name)]
        if window is not None:
            assert window.steps <= schedule.period(True)
        if heard:
            assert max(ends) - min(heard) + 1 <= schedule.period(True)
            assert (window.end - 1 if window else max(ends)) - min(heard) + 1 <= schedule.period(False)
    assert schedule.period(True) <= schedule.period(False) <= schedule.total


def chain(levels: tuple[int, int, int]) -> Graph:
    """Input, two hidden layers of one neuron and a read-out, all weights one."""
    one = np.ones((1, 1), np.int64)
    zero = np.zeros(1, np.int64)
    nodes = [Node("in", Input((1,), levels[0]))]
    for k, (name, before) in enumerate((("a", "in"), ("b", "a"))):
        nodes.append(Node(f"d{name}", Dense(one, None), (before,)))
        nodes.append(Node(name, Threshold(np.ones(1, np.int64), zero, levels[k + 1]), (f"d{name}",)))
    nodes += [Node("dout", Dense(one, None), ("b",)), Node("out", Scale(np.ones(1, np.int64), zero), ("dout",))]
    return Graph("chain", tuple(nodes))


@pytest.mark.parametrize(
    ("code", "levels", "steps", "windows", "total", "periods"),
    [
        # Windows of 7 steps follow each other; one more step carries the last spike to the read-out.
        ("unary", (7, 7, 7), None, [(0, 7), (7, 7), (14, 7)], 22, (14, 7)),
        # 16 levels take 5 bits, 7 levels 3; `a` integrates 5 steps and fires 3.
        ("bits", (16, 7, 7), None, [(0, 5), (5, 3), (8, 3)], 12, (8, 5)),
        ("unary", (2, 3, 5), None, [(0, 2), (2, 3), (5, 5)], 11, (8, 5)),
        ("ttfs", (2, 3, 5), None, [(0, 2), (2, 3), (5, 5)], 11, (8, 5)),
        # A digit more than bits.
        ("naf", (16, 7, 7), None, [(0, 6), (6, 4), (10, 4)], 15, (10, 6)),
        ("graded", (16, 7, 3), None, [(0, 1), (1, 1), (2, 1)], 4, (2, 1)),
        # Every layer begins one step after the one before and fires for as long.
        ("rate", (7, 10, 10), 10, [(0, 10), (1, 10), (2, 10)], 13, (10, 10)),
    ],
)
def test_schedule_of_a_chain(code, levels, steps, windows, total, periods):
    schedule = encode(chain(levels), code, steps).schedule
    assert [schedule.windows[n] for n in ("in", "a", "b")] == [Window(*w) for w in windows]
    assert set(schedule.delays.values()) == {0}
    assert (schedule.code, schedule.total, schedule.periods) == (code, total, periods)


def test_a_skip_waits_for_the_branch_around_which_it_leads():
    """in (15 levels, 4 bits) feeds a and, past a, the sum before b: its spikes wait until a's window ends too."""
    eye = np.ones((1, 1, 1, 1), np.int64)
    conv = Conv(eye, None, (1, 1), ((0, 0), (0, 0)))
    th = Threshold(np.ones((1, 1, 1), np.int64), np.zeros((1, 1, 1), np.int64), 7)
    graph = Graph(
        "skip",
        (
            Node("in", Input((1, 2, 2), 15)),
            Node("ca", conv, ("in",)),
            Node("a", th, ("ca",)),
            Node("p", MaxPool((1, 1), (1, 1), ((0, 0), (0, 0))), ("a",)),
            Node("sum", Add(), ("p", "in")),
            Node("b", th, ("sum",)),
            Node("cb", conv, ("b",)),
            Node("out", Scale(np.ones((1, 1, 1), np.int64), np.zeros((1, 1, 1), np.int64)), ("cb",)),
        ),
    )
    schedule = encode(graph, "bits").schedule
    # in 0-3, a fires 4-6, its pool one step later 5-7, b 8-10.
    assert schedule.windows == {"in": Window(0, 4), "a": Window(4, 3), "p": Window(5, 3), "b": Window(8, 3)}
    assert schedule.delays == {("in", "a"): 0, ("a", "p"): 0, ("p", "b"): 0, ("in", "b"): 4, ("b", "out"): 0}
    # b hears the input from step 0 + 4 + 1, and fires until step 10: 4 + 3 steps.
    assert (schedule.total, schedule.periods) == (12, (7, 4))


def test_the_integer_network_stays_as_it_was(random_network):
    graph = random_network(0, np.random.default_rng(0))
    spiking = encode(graph, "unary")
    assert graph.schedule is None
    assert spiking.vocabulary == "spiking"
    assert spiking.nodes == graph.nodes


def test_at_once_every_layer_sends_whole_values_in_one_step_and_keeps_its_levels():
    integer = chain((16, 7, 3))
    whole = at_once(integer)
    assert whole.nodes == integer.nodes  # levels as they were: only the schedule is that of binary layers
    schedule = whole.schedule
    assert schedule.windows == {"in": Window(0, 1), "a": Window(1, 1), "b": Window(2, 1)}
    assert set(schedule.delays.values()) == {0}
    # A step for each layer, and one in which the read-out integrates; a neuron integrates in one and sends in the next.
    assert (schedule.total, schedule.periods) == (4, (2, 1))


@given(seed=SEEDS)
def test_at_once_a_layer_sends_after_its_last_source(seed, random_network):
    graph, _ = drawn(random_network, seed)
    schedule = at_once(graph).schedule
    assert {window.steps for window in schedule.windows.values()} == {1}
    for node in populations(graph):
        heard = [schedule.windows[s].start + schedule.delays[s, node.name] + 1 for s in sources(graph, node.name)]
        assert len(set(heard)) <= 1  # everything that a layer adds up arrives in one step
        if heard and node.name in schedule.windows:
            late = 1 if isinstance(node.op, MaxPool) else 0
            assert schedule.windows[node.name].start + late >= heard[0]
