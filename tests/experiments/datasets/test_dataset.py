from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array

from experiments.datasets.arrays import Arrays
from experiments.datasets.data import from_arrays, load
from experiments.datasets.dataset import Preprocessing, coarsen, fit, preprocess, take
from neuro.errors import BadInput


def images(shape, items=6, high=255, seed=0):
    """Integer images as a data set."""
    x = np.random.default_rng(seed).integers(0, high + 1, (items, *shape)).astype(np.uint8)
    x.reshape(-1)[0] = high
    return from_arrays("images", Arrays(x, None, x, "test"))


@given(any_array(np.float32, (5, 3), elements=st.floats(-100, 100, width=32)))
def test_a_quantised_value_is_within_half_a_step(x):
    x[0, :2] = -101.5, 101.25
    data = from_arrays("d", Arrays(x, None, x, ""))
    assert data.counts.min() >= 0
    assert data.counts.max() <= data.levels
    assert np.abs(data.network_input - x).max() <= data.step / 2 * 1.001


def test_values_beyond_the_calibration_range_are_clipped():
    calibration = np.array([[0.0, 2.55]])
    data = from_arrays("d", Arrays(np.array([[-7.0, 0.0149], [0.0151, 9.0]]), None, calibration, ""))
    assert data.counts.tolist() == [[0, 1], [2, 255]]  # a step is 0.01; 1.49 and 1.51 steps


def test_preprocess_per_channel():
    data = images((3, 4, 5))
    options = Preprocessing(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.1))
    ready = preprocess(data, options)
    expected = np.stack(
        [(data.x[:, c] / 255 - m) / s for c, (m, s) in enumerate(zip(options.mean, options.std, strict=True))], 1
    )
    np.testing.assert_allclose(ready.network_input, expected, rtol=1e-5, atol=1e-6)
    assert (ready.counts == data.counts).all()
    assert ready.gain.shape == ready.offset.shape == (3, 1, 1)
    np.testing.assert_allclose(ready.gain.ravel(), [1 / 255 / 0.25, 1 / 255 / 0.2, 1 / 255 / 0.1])
    np.testing.assert_allclose(ready.offset.ravel(), [-2, -2, -3])


def test_preprocess_composes_and_keeps_an_origin():
    x = np.array([[-2.0, 0.25], [1.0, 3.1]])
    data = preprocess(
        preprocess(from_arrays("d", Arrays(x, None, x, "")), Preprocessing(scale=2.0, mean=(1.0,))),
        Preprocessing(scale=3.0, std=(2.0,)),
    )
    np.testing.assert_allclose(data.network_input, (2 * x - 1) * 3 / 2, atol=3 * data.step)
    assert data.network_input[0, 0] == pytest.approx(-7.5)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_fit_moves_images_and_map_together(flat, layout):
    """What reaches a network that reads `layout` is the plain transpose of the plain preprocessing."""
    options = Preprocessing(mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    first = images((3, 4, 5))
    last = from_arrays("last", Arrays(first.x.transpose(0, 2, 3, 1), None, first.x.transpose(0, 2, 3, 1), ""))
    values = (first.x - np.array([1, 2, 3])[:, None, None]) / np.array([2, 4, 8])[:, None, None]
    expected = values if layout == "NCHW" else values.transpose(0, 2, 3, 1)
    shape = (60,) if flat else expected.shape[1:]
    for data in (first, last):
        ready = fit(preprocess(data, options), shape, layout)
        np.testing.assert_allclose(ready.network_input, expected.reshape(6, *shape), rtol=1e-6)
        np.testing.assert_allclose(ready.calibration_input, ready.network_input)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((1, 28, 28), (784,)),
        ((1, 28, 28), (784, 1)),
        ((784,), (1, 28, 28)),
        ((28, 28), (1, 28, 28)),
        ((28, 28, 1), (1, 28, 28)),
        ((1, 28, 28), (28, 28, 1)),
        ((5,), (1, 1, 5)),
    ],
)
def test_fit_with_one_channel_keeps_the_order_of_values(source, target):
    data = images(source, items=2)
    ready = fit(data, target)
    assert ready.shape == target
    assert (ready.x.ravel() == data.x.ravel()).all()
    assert ready.gain.ndim == len(target)


def test_fit_needs_no_layout_where_one_way_fits():
    data = images((6, 7, 3))
    assert (fit(data, (3, 6, 7)).x == data.x.transpose(0, 3, 1, 2)).all()
    cube = images((3, 3, 3))
    assert (fit(cube, (3, 3, 3)).x == cube.x).all()
    assert (fit(cube, (3, 3, 3), "NHWC").x == cube.x.transpose(0, 2, 3, 1)).all()


@pytest.mark.parametrize("target", [(3, 7, 6), (125,), (2, 63), (6, 7)])
def test_fit_refuses_shapes_and_names_both(target):
    with pytest.raises(BadInput) as error:
        fit(images((3, 6, 7)), target)
    assert "(3, 6, 7)" in str(error.value)
    assert str(target) in str(error.value)


def test_fit_refuses_to_guess_how_colours_are_flattened():
    with pytest.raises(BadInput, match=r"\(3, 6, 7\).*\(126,\).*layout"):
        fit(images((3, 6, 7)), (126,))


def test_coarsen():
    x = np.array([[0, 1, 2, 3, 5, 6, 14, 15, 16]], np.uint8)
    data = coarsen(from_arrays("d", Arrays(x, None, x, "")), 4)
    assert data.counts.tolist() == [[0, 0, 1, 1, 1, 2, 4, 4, 4]]  # a count of 4 each; 2, 6 and 14 lie halfway: up
    assert data.step == 4
    assert data.network_input[0, -1] == 16


@given(st.integers(1, 255))
def test_coarse_counts_keep_the_ends_and_err_by_half_a_step(levels):
    x = np.arange(256, dtype=np.uint8)[None]
    data = coarsen(from_arrays("d", Arrays(x, None, x, "")), levels)
    assert (data.counts[0, 0], data.counts[0, -1]) == (0, levels)
    assert np.abs(data.network_input - x).max() <= 255 / levels / 2 * 1.0001


@pytest.mark.parametrize("levels", [0, 17])
def test_coarsen_refuses(levels):
    with pytest.raises(BadInput, match=rf"{levels} input levels; the data allow 1 to 16"):
        coarsen(load("digits"), levels)


def test_take():
    data = take(load("digits"), 5)
    assert (len(data.x), len(data.y), len(data.x_calibration)) == (5, 5, 1000)
    assert len(take(data, 9).x) == 5
    with pytest.raises(BadInput, match="at least 1"):
        take(data, 0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (Preprocessing(mean=(1.0, 2.0)), r"mean has 2 value\(s\).*3 channel"),
        (Preprocessing(std=(1.0,) * 4), r"std has 4 value\(s\)"),
        (Preprocessing(std=(1.0, 0.0, 1.0)), "above 0"),
        (Preprocessing(scale=0.0), "scale is 0"),
        (Preprocessing(mean=(float("nan"),)), "finite"),
    ],
)
def test_preprocess_refuses(options, match):
    with pytest.raises(BadInput, match=match):
        preprocess(images((3, 4, 4)), options)


def test_repr_says_what_it_is():
    text = repr(replace(take(load("digits"), 50), name="some"))
    assert "'some': 50 items of (1, 8, 8), 10 classes, counts 0..16" in text
