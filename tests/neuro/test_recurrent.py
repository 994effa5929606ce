"""Recurrent networks on the compiled kernel against JAX alone and against `neuro.trace`, spike by spike."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro import fixed, native, recurrent, scanned
from neuro.dynamics import Dynamics
from neuro.errors import BadInput, Unsupported
from neuro.network import Network, Neurons, Projection
from neuro.trace import Trace, simulate


class Draw:
    """Random populations and projections; whole: all numbers are those of a chip's fixed point."""

    def __init__(self, rng: np.random.Generator, whole: bool) -> None:
        self.rng, self.whole = rng, whole

    def some(self, draw, size: int):
        """One number or one for each neuron."""
        return draw(size) if self.rng.random() < 0.4 else draw(1).item()

    def numbers(self, low: int, high: int, size: int):
        if self.whole:
            return self.some(lambda n: self.rng.integers(low, high, n).astype(float), size)
        return self.some(lambda n: self.rng.uniform(low, high, n), size)

    def decay(self, size: int):
        if self.whole:
            return self.some(lambda n: self.rng.choice([0, 4096, self.rng.integers(1, 4096)], n) / 4096, size)
        return self.some(lambda n: self.rng.choice([0.0, 1.0, self.rng.random()], n), size)

    def maybe(self, value, otherwise, share: float = 0.5):
        return value if self.rng.random() < share else otherwise

    def model(self, size: int) -> Dynamics:
        quantum = 1 if self.whole else float(self.rng.choice([0.0, 0.25, 1.0]))
        return Dynamics(
            self.maybe(self.numbers(5, 60, size), np.inf, 0.9),
            bias=self.maybe(self.numbers(-2, 6, size), 0.0),
            decay=self.decay(size),
            current_decay=tuple(self.decay(size) for _ in range(self.rng.integers(1, 4))),
            reset=str(self.rng.choice(["hard", "soft"])),
            strict=bool(self.rng.random() < 0.5),
            refractory=self.maybe(self.some(lambda n: self.rng.integers(0, 9, n), size), 0),
            quantum=quantum,
            saturation=float(self.rng.choice([np.inf, 40, 100])),
            adaptation=self.maybe(self.numbers(0, 9, size), 0.0),
            adaptation_decay=float(self.rng.integers(0, 4096) / 4096),
            adapts=str(self.rng.choice(["threshold", "current"])),
            start=self.maybe(self.numbers(-20, 30, size), 0.0),
        )

    def network(self, largest: int = 150) -> Network:
        """1 or 2 inputs, 1 to 3 populations, up to 6 projections with delays 0..20; weights are multiples of 1/8,
        whose sums are exact in any order."""
        rng = self.rng
        populations = [Neurons(f"in{k}", (int(rng.integers(1, largest)),)) for k in range(rng.integers(1, 3))]
        for k in range(rng.integers(1, 4)):
            size = int(rng.integers(1, largest))
            populations.append(Neurons(f"p{k}", (size,), self.model(size)))
        modelled = [p for p in populations if p.model]
        projections, shortest = [], int(rng.integers(0, 5))
        for _ in range(rng.integers(0, 7)):
            a, b = populations[rng.integers(len(populations))], modelled[rng.integers(len(modelled))]
            full = 3 * a.size * b.size  # rows are wide then, and synapses double
            number = int(rng.integers(0, self.maybe(300, full)))
            weight = rng.integers(-20, 30, number) / (1 if self.whole else 8)
            pre, post = rng.integers(0, a.size, number), rng.integers(0, b.size, number)
            delay = self.maybe(int(rng.integers(shortest, 21)), shortest)
            projections.append(
                Projection(a.name, b.name, pre, post, weight, delay, int(rng.integers(b.model.receptors)))
            )
        return Network("random", tuple(populations), tuple(projections))

    def trains(self, network: Network, steps: int, batch: tuple[int, ...]) -> dict[str, np.ndarray]:
        share = self.rng.choice([0, 0.1, 0.3, 1])
        return {p.name: self.rng.random((*batch, steps, p.size)) < share for p in network.inputs}


def same(found: Trace, expected: Trace) -> None:
    assert list(found.spikes) == list(expected.spikes)
    for name, spikes in expected.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes, err_msg=name)
    for name, updated in expected.updated.items():
        np.testing.assert_array_equal(found.updated[name], updated, err_msg=name)
        np.testing.assert_array_equal(found.membranes[name], expected.membranes[name], err_msg=name)


@pytest.fixture
def compiled() -> None:
    if native.kernels().library is None:
        pytest.skip(native.kernels().reason)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("whole", [True, False])
@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_the_kernel_is_the_trace(whole, seed):
    """Spikes, updates and membranes, in fixed point where that is possible and in float64 always."""
    draw = Draw(np.random.default_rng(seed), whole)
    network, steps = draw.network(), int(draw.rng.integers(1, 60))
    inputs = draw.trains(network, steps, [(), (1,), (3,), (2, 2)][draw.rng.integers(4)])
    expected = simulate(network, inputs, steps)
    program = recurrent.prepare(network)
    for kind in sorted({program.kind, "float64"}):
        same(recurrent.run(recurrent.prepare(network, kind), inputs, steps), expected)


@pytest.mark.parametrize("seed", range(6))
def test_jax_alone_is_the_trace(seed):
    draw = Draw(np.random.default_rng(seed), True)
    network = draw.network(40)
    inputs = draw.trains(network, 25, (2,))
    same(scanned.run(network, inputs, 25), simulate(network, inputs, 25))


def test_synapses_are_gathered_where_a_matrix_would_be_empty(monkeypatch):
    network = cell(Dynamics(2.0, start=np.arange(6.0), decay=0.5), 6, (everywhere(6, 2),))
    expected = simulate(network, {}, 25)
    assert 0 < expected.spikes["cells"].mean() < 1
    for dense in (0, 1):
        monkeypatch.setattr(scanned, "DENSE", dense)
        same(scanned.run(network, {}, 25), expected)


def test_without_kernels_jax_takes_over(monkeypatch):
    monkeypatch.setattr(native, "kernels", lambda: native.Kernels(None, "none", "switched off"))
    draw = Draw(np.random.default_rng(1), True)
    network = draw.network(40)
    inputs = draw.trains(network, 20, ())
    program = recurrent.prepare(network)
    assert program.tables is None
    assert program.reason == "switched off"
    same(recurrent.run(program, inputs, 20), simulate(network, inputs, 20))
    with pytest.raises(Unsupported, match="switched off"):
        recurrent.fire(program, jax.numpy.zeros((1, 20, 0), np.uint8), recurrent.start(program, 1, 20))


def cell(model: Dynamics, size: int = 1, projections: tuple[Projection, ...] = ()) -> Network:
    return Network("cells", (Neurons("cells", (size,), model),), projections)


def everywhere(size: int, weight: int) -> Projection:
    """Everybody to everybody."""
    pre, post = np.divmod(np.arange(size**2), size)
    return Projection("cells", "cells", pre, post, np.full(size**2, weight))


@pytest.mark.parametrize(
    "network",
    [
        cell(Dynamics(1.0)),
        cell(Dynamics(1.0, bias=1.0)),
        cell(Dynamics(0.0, refractory=3, bias=1.0), 64),
        cell(Dynamics(0.0, refractory=10**9, bias=1.0), 65),
        cell(Dynamics(-5.0, start=-9.0, bias=1.0), 3),
        cell(Dynamics(1.0, start=1.0), 130, (everywhere(130, 1),)),
        cell(Dynamics(np.inf, bias=-7.0, saturation=2**23 - 1), 2),
        cell(Dynamics(10.0, bias=3.0, strict=True, reset="soft", adaptation=5.0, adaptation_decay=1.0), 2),
    ],
    ids=["silent", "always", "refractory", "once", "negative threshold", "saturated", "read-out", "adapting"],
)
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_edges(network, steps):
    expected = simulate(network, {}, steps)
    same(recurrent.run(recurrent.prepare(network), {}, steps), expected)
    same(scanned.run(network, {}, steps), expected)


def test_nothing_but_inputs():
    network = Network("inputs", (Neurons("in", (3,)),), ())
    trace = recurrent.run(recurrent.prepare(network), {"in": np.ones((4, 3), bool)}, 4)
    assert trace.spikes["in"].all()
    assert not trace.updated


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("apart", [1, 3, 8])
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize(
    ("weight", "stored"),
    [
        ([7.0, 7.0, 7.0], "row"), ([0.1, 0.1, 0.1], "row"), ([-32768.0, 32767.0, 3.0], "int16"),
        ([32768.0, 1.0, 2.0], "float32"), ([0.5, -2.0, 2.0**24], "float32"), ([0.1, 1 / 3, 2.0**24 + 1], "number"),
        ([1e300, 1.0, -1.0], "number"),
    ],
)  # fmt: skip
def test_weights_are_kept_to_the_last_bit(weight, stored, far, apart):
    """One spike, no leak: each membrane is its weight, stored in the fewest bytes that keep it; 33 synapses are vectors
    and a rest. far: with so many neurons, or so long a delay, that a place takes 32 bits. apart: neighbours are wide
    rows, which have no weight for a whole row; one in three places, and one in eight, are not."""
    weights = 11 * weight
    number = len(weights)
    wide = apart == 1
    size, delay = (apart * 270_000, 2) if far else (apart * number, 0)
    where = size - 1 - apart * np.arange(number)
    if wide and stored == "row":
        stored = "int16" if weights[0] == 7 else "number"
    populations = (Neurons("in", (1,)), Neurons("cells", (size,), Dynamics(np.inf)))
    projection = Projection("in", "cells", np.zeros(number, int), where, np.array(weights), delay)
    program = recurrent.prepare(Network("weights", populations, (projection,)), "float64")
    assert program.tables is not None
    rows = program.tables.rows
    assert (rows.place, rows.weight, rows.wide) == ("uint32" if far else "uint16", stored, wide)
    entries = -(-number // 8) if wide else number
    assert rows.places.size == entries * (4 if far else 2)
    if stored != "row":
        assert rows.weights.size == entries * (8 if wide else 1) * {"int16": 2, "float32": 4, "number": 8}[stored]
    trains = np.zeros((5, 1), bool)
    trains[0] = True
    found = recurrent.run(program, {"in": trains}, 5).membranes["cells"]
    assert found[where].tolist() == weights
    assert np.count_nonzero(found) == number


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", ["fixed", "float32", "float64"])
@pytest.mark.parametrize("delay", [0, 1, 3, 40])
@pytest.mark.parametrize(
    ("quantum", "decay", "flow"),
    [(0.0, 0.0, (1.0, 0.0)), (1.0, 0.5, (0.75, 0.5)), (3.0, 0.5, (0.75, 0.5)), (1.0, 0.5, (0.0, 0.0))],
)
def test_one_delay_for_all(kind, delay, quantum, decay, flow):
    """All spikes take as long, so that a block's first arrivals meet the current itself (`Merged`; in float64 where no
    current outlasts its step). Numbers are whole, so that no kind rounds. The delay of 40 steps is beyond a block; a
    quantum of three has no inverse."""
    if kind == "fixed" and quantum == 3:
        pytest.skip("fixed point counts in ones")
    rng = np.random.default_rng(delay)
    pre, post = np.nonzero(rng.random((90, 90)) < 0.2)
    edge, cell = np.nonzero(rng.random((20, 90)) < 0.3)
    model = Dynamics(64.0, decay=decay, current_decay=flow, refractory=2, quantum=quantum, reset="soft")
    network = Network(
        "one delay",
        (Neurons("in", (20,)), Neurons("cells", (90,), model)),
        (
            Projection("in", "cells", edge, cell, rng.integers(5, 40, len(edge)), delay),
            Projection("cells", "cells", pre, post, rng.integers(-9, 12, len(pre)), delay, 1),
        ),
    )
    inputs = {"in": rng.random((100, 20)) < 0.3}
    expected = simulate(network, inputs, 100)
    assert expected.spikes["cells"].sum() > 100
    program = recurrent.prepare(network, kind)
    assert (program.slots, program.block) == (delay + 1, min(delay + 1, 32))
    same(recurrent.run(program, inputs, 100), expected)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("seed", range(12))
def test_a_run_goes_on_piece_by_piece(monkeypatch, seed):
    """Pieces of one block each: what waits, decays, adapts or rests is taken along, and every piece is told."""
    monkeypatch.setattr(recurrent, "PIECE", 1)
    draw = Draw(np.random.default_rng(seed), seed % 2 == 0)
    network = draw.network()
    inputs = draw.trains(network, 50, (2,))
    program = recurrent.prepare(network)
    done: list[int] = []
    same(recurrent.run(program, inputs, 50, done.append), simulate(network, inputs, 50))
    assert done == [program.block] * (50 // program.block) + [50 % program.block] * (50 % program.block > 0)


@pytest.mark.usefixtures("compiled")
def test_a_run_goes_on_after_whole_blocks_only():
    one = np.ones(1, int)
    program = recurrent.prepare(cell(Dynamics(3.0, bias=1.0), 2, (Projection("cells", "cells", one, one, one, 3),)))
    assert program.block == 4
    state = recurrent.start(program, 1, 12)
    _, _, state = recurrent.fire(program, jax.numpy.zeros((1, 6, 0), np.uint8), state)
    with pytest.raises(Exception, match="it goes on after whole blocks only"):
        recurrent.fire(program, jax.numpy.zeros((1, 6, 0), np.uint8), state)


@pytest.mark.usefixtures("compiled")
def test_samples_run_alone():
    draw = Draw(np.random.default_rng(4), True)
    network = draw.network()
    inputs = draw.trains(network, 30, (5,))
    program = recurrent.prepare(network)
    together = recurrent.run(program, inputs, 30)
    for k in range(5):
        alone = recurrent.run(program, {name: train[k] for name, train in inputs.items()}, 30)
        for name, spikes in alone.spikes.items():
            np.testing.assert_array_equal(together.spikes[name][k], spikes)


@pytest.mark.usefixtures("compiled")
def test_single_precision_begins_like_double():
    """A recurrent network in float32: the first steps are the same; the largest weights are exact in both."""
    draw = Draw(np.random.default_rng(8), False)
    network = draw.network()
    inputs = draw.trains(network, 10, (2,))
    found = recurrent.run(recurrent.prepare(network, "float32"), inputs, 10)
    for name, spikes in simulate(network, inputs, 10).spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes)


def test_states_that_may_pass_32_bits():
    """2^27 in every step: 2^30 after 8 steps. From then on float64 runs, which holds them."""
    network = cell(Dynamics(np.inf, bias=2.0**27))
    program = recurrent.prepare(network)
    assert program.kind == "fixed"
    assert fixed.obstacle(network, 6) == ""
    assert "a state may reach" in fixed.obstacle(network, 8)
    assert recurrent.run(program, {}, 100).membranes["cells"].item() == 100 * 2.0**27
    assert recurrent.prepare(cell(Dynamics(1.0, bias=2.0**30))).kind == "float64"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": 0.5}, "bias is not whole"),
        ({"decay": 0.3, "quantum": 1}, "decay is no multiple of 1/4096"),
        ({"decay": 0.5}, "decay is a fraction, and states are not truncated"),
        ({"quantum": 2, "decay": 0.5}, "truncated to multiples of 2"),
        ({"threshold": -np.inf}, "threshold is not whole"),
        ({"threshold": -1.0, "reset": "soft"}, "a state may reach inf"),
    ],
)
def test_what_is_not_fixed_point(change, message):
    network = cell(dataclasses.replace(Dynamics(1.0), **change))
    assert recurrent.prepare(network).kind == "float64"
    with pytest.raises(Unsupported, match=message):
        recurrent.prepare(network, "fixed")


def test_bounds_hold():
    """No state of a run is larger than the bound says: weights of one sign, all at once, currents that halve."""
    model = Dynamics(np.inf, decay=0.75, current_decay=0.5, quantum=1)
    source, weight = np.arange(8), np.full(8, 1000)
    network = Network(
        "all at once",
        (Neurons("in", (8,)), Neurons("cells", (1,), model)),
        (Projection("in", "cells", source, np.zeros(8, int), weight),),
    )
    assert fixed.arriving(network, "cells").tolist() == [8000]
    membrane = simulate(network, {"in": np.ones((60, 8), bool)}, 60).membranes["cells"].item()
    assert 0.99 * 64000 < membrane <= 64000  # 8000 / (1 - 1/2) / (1 - 3/4)


def test_refusals():
    network = cell(Dynamics(1.0))
    with pytest.raises(BadInput, match="its inputs are"):
        recurrent.run(recurrent.prepare(network), {"in": np.zeros((5, 1), bool)}, 5)
