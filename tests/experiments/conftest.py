"""A network small enough to compare in seconds, its data, and one finished comparison."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from baselines import device
from experiments import cli
from experiments.compare import Comparison, Options, compare
from experiments.datasets import data
from experiments.datasets.arrays import Arrays
from experiments.datasets.dataset import DataSet
from neuro import chip
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Conv, Dense, Input, Relu, Reshape, Scale, Threshold

CHIPS = ("loihi1", "loihi2")
DEVICES = ("eyeriss_v1", "stm32h7a3", "jetson_orin_agx")


@pytest.fixture(scope="session")
def network() -> Graph:
    """4x4 image, 4 channels of 3x3, mean pool, 3 classes."""
    rng = np.random.default_rng(1)
    return Graph(
        "tiny",
        (
            Node("input", Input((1, 4, 4))),
            Node("conv", Conv(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4), (1, 1), ((1, 1), (1, 1))), ("input",)),
            Node("relu", Relu(), ("conv",)),
            Node("pool", AvgPool((2, 2), (2, 2), ((0, 0), (0, 0))), ("relu",)),
            Node("flat", Reshape((16,)), ("pool",)),
            Node("dense", Dense(rng.normal(size=(3, 16)), rng.normal(size=3)), ("flat",)),
        ),
    )


@pytest.fixture(scope="session")
def tiny_integer() -> Graph:
    """2 inputs, 3 hidden neurons, 2 outputs; thresholds 1, no biases, 2 levels.

    Counts (2, 1) give hidden membranes 2, 3, -1, hence counts 2, 2, 0. Weights that are not zero: input 0 reaches
    hidden 0 and 1, input 1 reaches hidden 1 and 2; hidden 0 and 2 reach output 0, hidden 1 both.
    """
    hidden = Dense(np.array([[1, 0], [1, 1], [0, -1]]), None)
    out = Dense(np.array([[1, 1, 1], [0, 1, 0]]), None)
    nodes = (
        Node("in", Input((2,), 2)),
        Node("w1", hidden, ("in",)),
        Node("hidden", Threshold(np.ones(3, np.int64), np.zeros(3, np.int64), 2), ("w1",)),
        Node("w2", out, ("hidden",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("w2",)),
    )
    return Graph("tiny", nodes)


@pytest.fixture(scope="session")
def dataset(network: Graph) -> DataSet:
    """40 images of counts 0..15 whose labels are the network's own decisions."""
    x = np.random.default_rng(2).integers(0, 16, (40, 1, 4, 4))
    y = np.asarray(evaluate(network, jnp.asarray(x, jnp.float32))["dense"]).argmax(axis=1)
    return data.from_arrays("tiny-images", Arrays(x=x, y=y, x_calibration=x[:24], description="random counts"))


@pytest.fixture(scope="session")
def comparison(network: Graph, dataset: DataSet) -> Comparison:
    """Two chips against three devices, 256 draws."""
    chips = [chip.load(name) for name in CHIPS]
    return compare(network, dataset, chips, [device.load(name) for name in DEVICES], Options(draws=256))


@pytest.fixture
def neuro(monkeypatch, capsys):
    """The command, called with words: exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neuro", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
