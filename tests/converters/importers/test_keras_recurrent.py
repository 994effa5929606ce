"""Keras's recurrent layers against Keras itself in both file formats, and what is refused."""

import os
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from converters.importers.from_keras import load
from neuro.errors import Unsupported
from neuro.evaluate import evaluate

os.environ.setdefault("KERAS_BACKEND", "jax")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

import jax

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own, about formats
layers = keras.layers
FORMATS = ("keras", "h5")


def model(*parts, shape=(4, 3), seed: int = 0):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        made = keras.Sequential([keras.Input(shape), *parts])
        rng = np.random.default_rng(seed)
        made.set_weights([rng.normal(0, 0.6, w.shape) for w in made.get_weights()])
    return made


def agrees(folder, made, ending: str = "keras") -> None:
    path = folder / f"net.{ending}"
    x = np.random.default_rng(1).normal(size=(3, *made.input_shape[1:])).astype(np.float32)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        made.save(path)
        wanted = np.asarray(made(x))
    graph = load(path)
    got = np.asarray(evaluate(graph, jnp.asarray(x))[graph.output.name])
    assert np.abs(got.reshape(wanted.shape) - wanted).max() < 1e-5


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("back", [True, False])
def test_cells_in_both_directions(tmp_path, ending, every, back):
    options = {"return_sequences": every, "go_backwards": back}
    agrees(tmp_path, model(layers.LSTM(4, **options)), ending)
    agrees(tmp_path, model(layers.GRU(4, **options)), ending)
    agrees(tmp_path, model(layers.GRU(4, reset_after=False, use_bias=back, **options)), ending)
    agrees(tmp_path, model(layers.SimpleRNN(4, use_bias=False, **options)), ending)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul"])
def test_both_directions_merged(tmp_path, ending, mode):
    every = mode in ("concat", "mul")
    agrees(tmp_path, model(layers.Bidirectional(layers.LSTM(3, return_sequences=every), merge_mode=mode)), ending)


@pytest.mark.parametrize("ending", FORMATS)
def test_cells_of_their_own_functions_and_nested_networks(tmp_path, ending):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        inner = keras.Sequential(
            [keras.Input((4, 3)), layers.Bidirectional(layers.GRU(2, return_sequences=True)), layers.LSTM(3)]
        )
    agrees(tmp_path, model(inner, layers.Dense(2)), ending)
    agrees(tmp_path, model(layers.RNN(layers.GRUCell(3), return_sequences=True)), ending)
    agrees(tmp_path, model(layers.LSTM(3, activation="relu", recurrent_activation="hard_sigmoid")), ending)
    image = model(layers.Reshape((4, 3)), layers.GRU(3, return_sequences=True), layers.LSTM(2), shape=(4, 3, 1))
    agrees(tmp_path, image, ending)


def refused(folder, made) -> str:
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        made.save(folder / "net.keras")
    with pytest.raises(Unsupported) as caught:
        load(folder / "net.keras")
    return str(caught.value)


def test_what_is_refused(tmp_path):
    assert "LSTM 'long': a sequence of 65 steps" in refused(tmp_path, model(layers.LSTM(2, name="long"), shape=(65, 3)))
    message = refused(tmp_path, model(layers.LSTM(2, name="softly", recurrent_activation="softmax")))
    assert "LSTM 'softly': recurrent_activation 'softmax' in a cell" in message
    stacked = layers.RNN([layers.GRUCell(2), layers.GRUCell(2)], name="stacked")
    assert "RNN 'stacked': a cell 'StackedRNNCells'" in refused(tmp_path, model(stacked))
