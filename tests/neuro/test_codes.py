"""Spike codes against the equations in plain integers: encoding, decoding, pooling, and faults that must be seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro import codes
from neuro.layers import MaxPool, Threshold

EXACT = ("unary", "bits", "naf", "ttfs", "graded")


def emitted(code: str, membranes: np.ndarray, th: np.ndarray, levels: int) -> np.ndarray:
    """Spikes [step, neuron] of neurons with the given membranes and thresholds after their window."""
    op = Threshold(th, np.zeros_like(th), levels)
    with jax.disable_jit():  # one shape for all: nothing to compile twice
        return np.asarray(codes.emit(code, op, jnp.asarray(membranes, jnp.float32)[None]))[:, 0]


def unary_train(v: int, th: int, levels: int) -> list[int]:
    train = []
    for _ in range(levels):
        train.append(int(v >= th))
        v -= th * train[-1]
    return train


def binary_train(v: int, th: int, levels: int) -> list[int]:
    """Most significant bit first, of min(max(v // th, 0), levels), by integer division and not by comparison."""
    value = min(max(v // th, 0), levels)
    return [value >> k & 1 for k in reversed(range(levels.bit_length()))]


def signed_train(v: int, th: int, levels: int) -> list[int]:
    """Most significant digit first, of the non-adjacent form of min(max(v // th, 0), levels): from below, by parity."""
    value, digits = min(max(v // th, 0), levels), []
    for _ in range(levels.bit_length() + 1):
        digits.append(2 - value % 4 if value % 2 else 0)
        value = (value - digits[-1]) // 2
    assert value == 0
    return digits[::-1]


def first_train(v: int, th: int, levels: int) -> list[int]:
    """One spike, min(v // th, levels) steps before the end of the window."""
    value = min(max(v // th, 0), levels)
    return [int(levels - t == value) for t in range(levels)]


def graded_train(v: int, th: int, levels: int) -> list[int]:
    return [min(max(v // th, 0), levels)]


TRAINS = {
    "unary": unary_train, "bits": binary_train, "naf": signed_train, "ttfs": first_train, "graded": graded_train,
}  # fmt: skip


def around(th: int, levels: int, rng: np.random.Generator) -> np.ndarray:
    """400 membranes: multiples of the threshold and their neighbours from below zero to above L, and others."""
    ties = rng.integers(-2, levels + 4, 100) * th
    return np.concatenate([ties, ties - 1, ties + 1, rng.integers(-3 * th, (levels + 4) * th, 100)])


@pytest.mark.parametrize(
    ("code", "every"),
    [("unary", [1, 2, 5, 15, 40]), *((code, range(1, 70)) for code in ("bits", "naf", "ttfs", "graded"))],
)
def test_emission_follows_the_equation(code, every):
    train = TRAINS[code]
    rng = np.random.default_rng(0)
    for levels in every:
        th = np.repeat([1, 2, 3, 7, 567], 400)
        membranes = np.concatenate([around(int(t), levels, rng) for t in th[::400]])
        want = [train(int(v), int(t), levels) for v, t in zip(membranes, th, strict=True)]
        np.testing.assert_array_equal(emitted(code, membranes, th, levels), np.array(want).T, err_msg=f"L = {levels}")


@pytest.mark.parametrize("code", EXACT)
def test_every_value_comes_back_at_every_number_of_levels(code):
    """L of 1 to 69: the trains of all 2,484 values, by hand, decode to them (Horner's rule, a ramp, sums); windows end
    together, so that silence before them changes nothing."""
    every = [(levels, value) for levels in range(1, 70) for value in range(levels + 1)]
    trains = [TRAINS[code](value, 1, levels) for levels, value in every]
    longest = max(map(len, trains))
    spikes = np.array([[0] * (longest - len(train)) + train for train in trains]).T
    np.testing.assert_array_equal(decoded(code, spikes), [value for _, value in every])


def test_trains_by_hand():
    """L = 7, V = 23, th = 4: N = 5 = 101 in bits and 8 - 4 + 1 = 0101 in signed digits; t = 7 - 5 = 2 to the first
    spike. L = 6 (which clips): 6 = 8 - 2; and 3 = 4 - 1."""
    one = np.array([4])
    assert emitted("bits", np.array([23]), one, 7)[:, 0].tolist() == [1, 0, 1]
    assert emitted("naf", np.array([23]), one, 7)[:, 0].tolist() == [0, 1, 0, 1]
    assert emitted("ttfs", np.array([23]), one, 7)[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert emitted("graded", np.array([23]), one, 7)[:, 0].tolist() == [5]
    assert emitted("naf", np.array([1000]), one, 6)[:, 0].tolist() == [1, 0, -1, 0]
    assert emitted("naf", np.array([12]), one, 6)[:, 0].tolist() == [0, 1, 0, -1]
    assert emitted("ttfs", np.array([1000]), one, 6)[:, 0].tolist() == [1, 0, 0, 0, 0, 0]
    for code in ("naf", "ttfs", "graded"):
        assert not emitted(code, np.array([3]), one, 6).any()
        assert not emitted(code, np.array([-50]), one, 6).any()


@pytest.mark.parametrize(("levels", "spikes"), [(15, {"unary": 120, "bits": 32, "naf": 28, "ttfs": 15, "graded": 15})])
def test_events_of_all_values(levels, spikes):
    """Values 0 to 15: their sum, their ones (4 x 16 / 2), their signed digits that are not zero (0 1 1 2, 1 2 2 2,
    1 2 2 3, 2 3 2 2), and one each for all but zero."""
    values = np.arange(levels + 1)
    got = {code: int((emitted(code, values, np.ones(16, np.int64), levels) != 0).sum()) for code in EXACT}
    assert got == spikes


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6, 7, 10, 15])
def test_decoding_what_was_emitted_is_floor_division(code, levels):
    """decode(emit(V)) = clip(floor(V / th), 0, L), exhaustively for th of 1 to 8 and V of -30 to 169."""
    th, membranes = (a.ravel() for a in np.mgrid[1:9, -30:170])
    got = decoded(code, emitted(code, membranes, th, levels))
    np.testing.assert_array_equal(got, np.clip(membranes // th, 0, levels))


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize("levels", [7, 10])
def test_large_membranes_and_thresholds_stay_exact(code, levels):
    """Up to 2^24, where the graph's bound ends; the comparison th 2^(K-1) may lie above the membrane's own range."""
    rng = np.random.default_rng(1)
    th = rng.integers(1, 2**16 + 1, 1600)
    membranes = rng.integers(-(2**24) + 1, 2**24, 1600)
    membranes[::2] = th[::2] * rng.integers(-2, levels + 3, 800) - rng.integers(0, 2, 800)
    got = decoded(code, emitted(code, membranes, th, levels))
    np.testing.assert_array_equal(got, np.clip(membranes // th, 0, levels))


def decoded(code: str, spikes: np.ndarray) -> np.ndarray:
    return np.asarray(codes.decode(code, jnp.asarray(spikes[:, None])))[0]


@pytest.mark.parametrize(
    ("code", "steps"),
    [
        ("unary", [1, 7, 9, 16]),
        ("bits", [1, 3, 4, 5]),
        ("naf", [2, 4, 5, 6]),
        ("ttfs", [1, 7, 9, 16]),
        ("graded", [1, 1, 1, 1]),
        ("rate", [1, 7, 9, 16]),
    ],
)
def test_steps_of_a_window(code, steps):
    assert [codes.steps(code, levels) for levels in (1, 7, 9, 16)] == steps


def test_only_the_rate_code_is_approximate():
    assert [c for c in codes.CODES if not codes.is_exact(c)] == ["rate"]


def test_spikes_of_naf_and_graded_carry_something():
    assert [c for c in codes.CODES if not codes.is_binary(c)] == ["naf", "graded"]
    assert [c for c in codes.CODES if codes.doubles(c)] == ["bits", "naf"]
    op = Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 3)
    kinds = {code: codes.emit(code, op, jnp.ones((1, 1))).dtype.kind for code in EXACT}
    assert kinds == {"unary": "b", "bits": "b", "naf": "i", "ttfs": "b", "graded": "i"}


def test_integration_is_a_sum_a_ramp_or_horners_rule():
    currents = jnp.asarray([[[1.0]], [[-2.0]], [[5.0]]])
    assert codes.integrate("unary", currents) == 1 - 2 + 5
    assert codes.integrate("rate", currents) == 1 - 2 + 5
    assert codes.integrate("graded", currents) == 1 - 2 + 5
    assert codes.integrate("bits", currents) == 4 * 1 - 2 * 2 + 5
    assert codes.integrate("naf", currents) == 4 * 1 - 2 * 2 + 5
    assert codes.integrate("ttfs", currents) == 3 * 1 - 2 * 2 + 5


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize("levels", [1, 5, 16, 255])
def test_inputs_come_back(code, levels):
    counts = jnp.arange(levels + 1, dtype=jnp.float32)[None]
    spikes = codes.encode(code, counts, levels, codes.steps(code, levels))
    assert spikes.shape == (codes.steps(code, levels), 1, levels + 1)
    np.testing.assert_array_equal(codes.decode(code, spikes), counts)


@given(levels=st.integers(1, 9))
@settings(max_examples=9)
def test_rate_input_fires_in_proportion(levels):
    """Half a threshold at the start: after T steps of c, floor((floor(L/2) + c T) / L) spikes, at most one a step."""
    counts = np.minimum(np.arange(10), levels)
    with jax.disable_jit():
        spikes = codes.encode("rate", jnp.asarray(counts, jnp.float32)[None], levels, 20)
    np.testing.assert_array_equal(np.asarray(spikes).sum(axis=0)[0], (levels // 2 + counts * 20) // levels)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_rate_neuron_follows_its_recurrence(seed):
    """V starts at floor(th/2); V += I + B, s = [V >= th], V -= th s; the peak is the largest |V| before a reset."""
    rng = np.random.default_rng(seed)
    currents = rng.integers(-20, 25, (12, 2, 3))
    th, bias = rng.integers(1, 30, (3,)), rng.integers(-5, 6, (3,))
    with jax.disable_jit():
        spikes, peak = map(np.asarray, codes.fire_rate(Threshold(th, bias, 12), jnp.asarray(currents, jnp.float32)))
    for sample in range(2):
        highest = 0
        for n in range(3):
            v = int(th[n]) // 2
            highest = max(highest, v)
            for t in range(12):
                v += int(currents[t, sample, n]) + int(bias[n])
                highest = max(highest, abs(v))
                assert bool(spikes[t, sample, n]) == (v >= th[n])
                v -= int(th[n]) * (v >= th[n])
        assert peak[sample] == highest


POOLS = [
    MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))),
    MaxPool((3, 3), (1, 1), ((1, 1), (1, 1))),  # overlapping, padded
    MaxPool((3, 2), (2, 1), ((1, 0), (0, 1))),  # padded on one side
    MaxPool((4, 5), (1, 1), ((0, 0), (0, 0))),  # the whole map
]


@pytest.mark.parametrize("op", POOLS)
@pytest.mark.parametrize(("code", "levels"), [(code, 5) for code in EXACT])
def test_pooled_trains_carry_the_largest_count(code, levels, op, numpy_apply):
    counts = np.random.default_rng(levels).integers(0, levels + 1, (64, 3, 4, 5))
    spikes = codes.encode(code, jnp.asarray(counts, jnp.float32), levels, codes.steps(code, levels))
    pooled = codes.decode(code, codes.pool(code, op, spikes))
    np.testing.assert_array_equal(np.asarray(pooled), numpy_apply(op, counts))


@pytest.mark.parametrize("op", POOLS)
def test_pool_of_rates_fires_when_any_neuron_fires(op, numpy_apply):
    spikes = np.random.default_rng(0).random((5, 4, 3, 4, 5)) < 0.2
    pooled = np.asarray(codes.pool("rate", op, jnp.asarray(spikes)))
    want = np.stack([numpy_apply(op, s.astype(np.int64)) for s in spikes])
    np.testing.assert_array_equal(pooled, want)
    assert 0 < want.mean() < 1


def test_pool_works_along_a_line():
    """Counts 3 2 | 1 5 in three bits: the pooled trains are those of 3 and 5."""
    spikes = codes.encode("bits", jnp.asarray([[[3.0, 2.0, 1.0, 5.0]]]), 7, 3)
    pooled = codes.pool("bits", MaxPool((2,), (2,), ((0, 0),)), spikes)
    np.testing.assert_array_equal(np.asarray(pooled)[:, 0, 0], [[0, 1], [1, 0], [1, 1]])


def test_pools_by_hand():
    """Counts 6 and 7 in signed digits: 1 0 -1 0 and 1 0 0 -1; the third digit decides. OR would give 1 0 0 0 = 8. Times
    3 and 5 of 7: the spikes of steps 4 and 2, of which the first alone is passed on."""
    op = MaxPool((2,), (2,), ((0, 0),))
    naf = codes.encode("naf", jnp.asarray([[[6.0, 7.0]]]), 7, 4)
    assert np.asarray(naf)[:, 0, 0].T.tolist() == [[1, 0, -1, 0], [1, 0, 0, -1]]
    assert np.asarray(codes.pool("naf", op, naf)).ravel().tolist() == [1, 0, 0, -1]
    ttfs = codes.pool("ttfs", op, codes.encode("ttfs", jnp.asarray([[[3.0, 5.0]]]), 7, 7))
    assert np.asarray(ttfs).ravel().tolist() == [0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("code", EXACT)
def test_a_pool_passes_on_one_of_its_trains(code):
    """Every pair of values at several L: the pooled train is that of the larger one, spike by spike."""
    op = MaxPool((2,), (2,), ((0, 0),))
    for levels in (1, 6, 20):
        pairs = np.stack(np.meshgrid(*[np.arange(levels + 1)] * 2), axis=-1).reshape(-1, 2)
        spikes = codes.encode(code, jnp.asarray(pairs, jnp.float32)[:, None], levels, codes.steps(code, levels))
        want = codes.encode(code, jnp.asarray(pairs.max(axis=1), jnp.float32)[:, None, None], levels, len(spikes))
        np.testing.assert_array_equal(codes.pool(code, op, spikes), want)


# Faults: 300 networks of two layers and a pool at once, along an axis of their own, with one thing wrong.

WIDTH, LEVELS, NETWORKS = 8, 7, 300
PAIRS = MaxPool((2,), (2,), ((0, 0),))


def either(spikes):
    """OR of pairs; of signed digits the larger one, step by step."""
    return spikes.reshape(*spikes.shape[:-1], -1, 2).max(axis=-1)


def counts_of(code: str, fault: str = "") -> np.ndarray:
    """Counts [network, neuron] after two layers; between them half of the neurons are pooled as well."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, LEVELS + 1, (NETWORKS, WIDTH))
    for depth in range(2):
        w = rng.integers(-4, 5, (NETWORKS, WIDTH, WIDTH))
        bias, th = rng.integers(-9, 10, (NETWORKS, WIDTH)), rng.integers(1, 12, (NETWORKS, WIDTH))
        v = np.einsum("nij,nj->ni", w, x) + bias + (0 if fault == "no half" else th // 2)
        v = v - (fault == "strict")  # V > th is V - 1 >= th in integers
        spikes = codes.emit(code, Threshold(th, 0 * th, LEVELS), jnp.asarray(v, jnp.float32)[None])
        if fault == "lost" and depth == 0:
            spikes = one_lost(np.array(spikes), np.random.default_rng(1))
        if depth:
            return np.asarray(codes.decode(code, spikes))[0]
        pooled = either(spikes) if fault == "or pool" else codes.pool(code, PAIRS, spikes)
        own, largest = (np.asarray(codes.decode(code, s))[0] for s in (spikes, pooled))
        x = np.concatenate([own[:, : WIDTH // 2], largest], axis=1).astype(np.int64)
    raise AssertionError


def one_lost(spikes: np.ndarray, rng: np.random.Generator):
    """Of every network one spike at random is not delivered."""
    for network in range(NETWORKS):
        events = np.argwhere(spikes[:, 0, network])
        if len(events):
            step, neuron = rng.choice(events)
            spikes[step, 0, network, neuron] = 0
    return jnp.asarray(spikes)


@pytest.mark.parametrize("code", EXACT)
def test_networks_with_faults_begin_without_one(code):
    """All codes give one result, which integer division gives too."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, LEVELS + 1, (NETWORKS, WIDTH))
    for depth in range(2):
        w = rng.integers(-4, 5, (NETWORKS, WIDTH, WIDTH))
        bias, th = rng.integers(-9, 10, (NETWORKS, WIDTH)), rng.integers(1, 12, (NETWORKS, WIDTH))
        own = np.clip((np.einsum("nij,nj->ni", w, x) + bias + th // 2) // th, 0, LEVELS)
        x = own if depth else np.concatenate([own[:, : WIDTH // 2], own.reshape(NETWORKS, -1, 2).max(axis=2)], axis=1)
    np.testing.assert_array_equal(counts_of(code), x)


OR_IS_WRONG = {"unary": 0.0, "bits": 0.1, "naf": 0.3, "ttfs": 0.25, "graded": 0.0}
"""At least this share of networks gives itself away; where OR is the pool of the code, none does."""


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize("fault", ["strict", "lost", "no half", "or pool"])
def test_faults_are_seen_in_the_counts(fault, code):
    """The share of random networks in which the equality check sees a fault of the code under test."""
    seen = (counts_of(code) != counts_of(code, fault)).any(axis=1).mean()
    least = OR_IS_WRONG[code] if fault == "or pool" else 0.4
    assert seen >= least if least else seen == 0, seen


@pytest.mark.parametrize(
    ("start", "reset", "want"),
    [
        ("half", "subtract", [1, 0, 0, 1]),
        ("zero", "subtract", [0, 0, 1, 1]),
        ("zero", "zero", [0, 0, 1, 0]),
        ("half", "zero", [1, 0, 0, 1]),
    ],
)
def test_starts_and_resets_by_hand(start, reset, want):
    """Threshold 4, currents 2, 1, 2, 3. From 2: 4 fires, 0 + 1, 3, 6 fires. From 0: 2, 3, 5 fires, 1 or 0, 4 or 3."""
    op = Threshold(np.array([4]), np.array([0]), 4, start, reset)
    currents = jnp.asarray([2, 1, 2, 3], jnp.float32).reshape(4, 1, 1)
    got = np.asarray(codes.fire_rate(op, currents)[0]).ravel().astype(int).tolist()
    assert got == want
