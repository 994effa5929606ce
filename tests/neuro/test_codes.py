"""Spike codes against the equations in plain integers: encoding, decoding, pooling, and faults that must be seen."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro import codes
from neuro.layers import MaxPool, Threshold

EXACT = ("unary", "bits")


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


def around(th: int, levels: int, rng: np.random.Generator) -> np.ndarray:
    """400 membranes: multiples of the threshold and their neighbours from below zero to above L, and others."""
    ties = rng.integers(-2, levels + 4, 100) * th
    return np.concatenate([ties, ties - 1, ties + 1, rng.integers(-3 * th, (levels + 4) * th, 100)])


@pytest.mark.parametrize(("code", "every"), [("unary", [1, 2, 5, 15, 40]), ("bits", range(1, 70))])
def test_emission_follows_the_equation(code, every):
    train = unary_train if code == "unary" else binary_train
    rng = np.random.default_rng(0)
    for levels in every:
        th = np.repeat([1, 2, 3, 7, 567], 400)
        membranes = np.concatenate([around(int(t), levels, rng) for t in th[::400]])
        want = [train(int(v), int(t), levels) for v, t in zip(membranes, th, strict=True)]
        np.testing.assert_array_equal(emitted(code, membranes, th, levels), np.array(want).T, err_msg=f"L = {levels}")


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


@pytest.mark.parametrize(("code", "steps"), [("unary", [1, 7, 9, 16]), ("bits", [1, 3, 4, 5]), ("rate", [1, 7, 9, 16])])
def test_steps_of_a_window(code, steps):
    assert [codes.steps(code, levels) for levels in (1, 7, 9, 16)] == steps


def test_only_the_rate_code_is_approximate():
    assert [c for c in codes.CODES if not codes.is_exact(c)] == ["rate"]


def test_integration_is_a_sum_or_horners_rule():
    currents = jnp.asarray([[[1.0]], [[-2.0]], [[5.0]]])
    assert codes.integrate("unary", currents) == 1 - 2 + 5
    assert codes.integrate("rate", currents) == 1 - 2 + 5
    assert codes.integrate("bits", currents) == 4 * 1 - 2 * 2 + 5


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
@pytest.mark.parametrize(("code", "levels"), [("unary", 5), ("bits", 5)])
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


# Faults. Each variant computes the counts of two layers and a pool from the equations, with one thing wrong.

WIDTH, LEVELS, NETWORKS = 8, 7, 300


def layer(code: str, v: np.ndarray, th: np.ndarray, strict: bool = False) -> np.ndarray:
    """Spikes [step, neuron]."""
    units = [th * 2**k for k in reversed(range(3))] if code == "bits" else [th] * LEVELS
    spikes, v = [], v.copy()
    for unit in units:
        spikes.append((v > unit) if strict else (v >= unit))
        v = v - unit * spikes[-1]
    return np.array(spikes)


def value(code: str, spikes: np.ndarray) -> np.ndarray:
    scale = 2 ** np.arange(3)[::-1] if code == "bits" else np.ones(LEVELS, np.int64)
    return np.tensordot(scale, spikes.astype(np.int64), axes=1)


def counts_of(code: str, seed: int, strict=False, lost=False, no_half=False, or_pool=False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, LEVELS + 1, WIDTH)
    for depth in range(2):
        w, b, th = rng.integers(-4, 5, (WIDTH, WIDTH)), rng.integers(-9, 10, WIDTH), rng.integers(1, 12, WIDTH)
        spikes = layer(code, w @ x + b + (0 if no_half else th // 2), th, strict)
        if lost and depth == 0 and spikes.any():
            spikes[tuple(rng.choice(np.argwhere(spikes)))] = False
        if depth == 0:  # pairs of neurons are pooled
            pairs = spikes.reshape(len(spikes), -1, 2)
            pooled = value(code, pairs.any(axis=2)) if or_pool else value(code, pairs).max(axis=1)
            x = np.concatenate([value(code, spikes)[: WIDTH // 2], pooled])
        else:
            x = value(code, spikes)
    return x


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize(
    ("fault", "unary", "bits"),
    [("strict", 0.4, 0.4), ("lost", 0.4, 0.4), ("no_half", 0.4, 0.4), ("or_pool", 0.0, 0.1)],
)
def test_faults_are_seen_in_the_counts(fault, unary, bits, code):
    """The share of random networks in which the equality check sees a fault; OR is right for unary, wrong for bits."""
    seen = np.mean([
        (counts_of(code, seed) != counts_of(code, seed, **{fault: True})).any() for seed in range(NETWORKS)
    ])  # fmt: skip
    least = bits if code == "bits" else unary
    assert seen >= least if least else seen == 0


@pytest.mark.parametrize("code", EXACT)
@pytest.mark.parametrize("fault", ["greater", "silent first step", "or pool"])
def test_faults_in_the_code_itself_are_seen(fault, code, monkeypatch):
    """The same check on the code under test, patched: without the patch 0 of 40 differ, with it most do."""

    def differing(seen_with: Callable) -> float:
        wrong = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            membranes = rng.integers(-20, 80, (1, 2, 4, 4)).astype(np.float32)
            op = Threshold(np.full((1, 1, 1), 10), np.zeros((1, 1, 1), np.int64), LEVELS)
            with jax.disable_jit():
                spikes = seen_with(code, op, jnp.asarray(membranes))
                pooled = codes.decode(code, codes.pool(code, POOLS[0], spikes))
            want = np.clip(membranes // 10, 0, LEVELS).reshape(1, 2, 2, 2, 2, 2).max(axis=(3, 5))
            wrong.append((np.asarray(pooled) != want).any())
        return float(np.mean(wrong))

    assert differing(codes.emit) == 0
    sound = codes.emit
    if fault == "greater":
        assert differing(lambda c, op, v: sound(c, op, v - 1)) >= 0.4  # V > th is V - 1 >= th in integers
    elif fault == "silent first step":
        assert differing(lambda c, op, v: sound(c, op, v).at[0].set(False)) >= 0.4
    else:
        monkeypatch.setattr(codes, "pool", lambda c, op, s: pooled_by_or(op, s))
        assert differing(sound) >= 0.4 if code == "bits" else differing(sound) == 0


def pooled_by_or(op: MaxPool, spikes):
    step, batch, channels, height, width = spikes.shape
    return spikes.reshape(step, batch, channels, height // 2, 2, width // 2, 2).any(axis=(4, 6))
