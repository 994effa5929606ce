"""The integers of attention against whole-number arithmetic without bounds, and products event by event."""

from math import isqrt

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro import codes
from neuro.attention import layer_norm, norm, product, root, softmax
from neuro.layers import LayerNorm, NormNeurons, Product, SoftmaxNeurons

FEW = settings(max_examples=15, deadline=None)


def softmax_by_hand(op: SoftmaxNeurons, row: list[int]) -> list[int]:
    table = [int(t) for t in op.table]
    share = [table[min((max(row) - v + op.divisor // 2) // op.divisor, len(table) - 1)] for v in row]
    return [min((e * op.whole + sum(share) // 2) // sum(share), op.levels) for e in share]


def norm_by_hand(op: NormNeurons, row: list[int]) -> list[int]:
    mean = (sum(row) + len(row) // 2) // len(row)
    apart = [v - mean for v in row]
    size = max(abs(d) for d in apart).bit_length()
    down = size - op.bits
    even = [(d + 2 ** (down - 1)) // 2**down if down > 0 else d * 2**-down for d in apart]
    length = max(isqrt(sum(e * e for e in even) + int(op.extra[size])), 1)
    share = [e * 2**15 // length for e in even]
    wide = [int(g) * r + int(o) for g, r, o in zip(op.gain, share, op.offset, strict=True)]
    assert all(abs(w) < 2**31 for w in wide)
    return [min(max(w // 2**op.shift, 0), op.levels) for w in wide]


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([3, 1000, 2**23]), st.integers(1, 255))
def test_softmax_neurons_are_whole_number_arithmetic(seed, members, reach, levels):
    rng = np.random.default_rng(seed)
    table = np.sort(rng.integers(0, 2**16, rng.integers(1, 50)))[::-1] + np.int64(1)
    op = SoftmaxNeurons(np.zeros(1, np.int64), table, int(rng.integers(1, reach)), int(levels), levels)
    membrane = rng.integers(-reach, reach + 1, (4, members))
    got = np.asarray(softmax(op, jnp.asarray(membrane, jnp.int32)))
    assert got.tolist() == [softmax_by_hand(op, row) for row in membrane.tolist()]


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.sampled_from([1, 30, 5000, 2**24]))
def test_norm_neurons_are_whole_number_arithmetic(seed, members, reach):
    rng = np.random.default_rng(seed)
    bits = min(14, (29 - (members - 1).bit_length()) // 2)
    op = NormNeurons(
        bias=np.zeros(1, np.int64),
        gain=rng.integers(-(2**14), 2**14, members),
        offset=rng.integers(0, 2**29, members),
        extra=np.minimum(2 ** rng.integers(0, 30, 32), 2**29),
        bits=bits,
        shift=25,
        levels=255,
    )
    membrane = rng.integers(-reach, reach + 1, (3, members))
    membrane[0] = membrane[0, 0]  # nothing to tell apart
    got = np.asarray(norm(op, jnp.asarray(membrane, jnp.int32)))
    assert got.tolist() == [norm_by_hand(op, row) for row in membrane.tolist()]


def test_the_integer_root_around_every_square():
    squares = np.arange(2**15 + 1, dtype=np.int64) ** 2
    for number in (squares, squares[1:] - 1, np.minimum(squares + 1, 2**30)):
        got = np.asarray(root(jnp.asarray(number, jnp.int32)))
        assert got.tolist() == [isqrt(int(n)) for n in number]


def test_layer_norm_in_float64():
    rng = np.random.default_rng(1)
    x, gain, offset = rng.normal(3, 2, (5, 3, 7)), rng.normal(size=7), rng.normal(size=7)
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) * gain + offset
    got = layer_norm(LayerNorm(gain, offset, 1e-3), jnp.asarray(x, jnp.float32))
    assert np.abs(np.asarray(got) - want).max() < 1e-5


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from(["unary", "graded"]), st.integers(1, 15))
def test_a_product_adds_up_event_by_event_in_any_order(seed, code, levels):
    """Every event of one side adds what the other side has sent so far; the sum is the product of the counts."""
    rng = np.random.default_rng(seed)
    rows, inner, columns = rng.integers(1, 5, 3)
    left, right = rng.integers(0, levels + 1, (rows, inner)), rng.integers(0, levels + 1, (inner, columns))
    zeros = (int(rng.integers(0, levels + 1)), int(rng.integers(0, levels + 1)))
    events = []
    for side, counts in enumerate((left, right)):
        trains = np.asarray(codes.encode(code, jnp.asarray(counts, jnp.float32), levels, codes.steps(code, levels)))
        events += [(side, int(i), int(j), int(trains[t, i, j])) for t, i, j in zip(*np.nonzero(trains), strict=True)]
    so_far = [np.full((rows, inner), -zeros[0]), np.full((inner, columns), -zeros[1])]
    membrane = so_far[0] @ so_far[1]
    for k in rng.permutation(len(events)):
        side, i, j, change = events[k]
        if side == 0:
            membrane[i] += change * so_far[1][j]
        else:
            membrane[:, j] += so_far[0][:, i] * change
        so_far[side][i, j] += change
    want = (left - zeros[0]) @ (right - zeros[1])
    assert (membrane == want).all()
    sides = (jnp.asarray(side[None], jnp.float32) for side in (left, right))
    assert (np.asarray(product(Product(zeros), *sides))[0] == want).all()


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_a_product_is_batched_over_all_but_two_axes(factor):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 5, 6))
    got = np.asarray(product(Product(factor=factor), jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)))
    assert np.abs(got - factor * np.einsum("bhik,bhkj->bhij", a, b)).max() < 1e-5
