"""Small networks: shapes as published, and training that learns."""

import numpy as np

from experiments.benchmarks.small import layers, trained
from experiments.datasets.images import digit_images
from experiments.decision import classes
from experiments.run import outputs
from neuro.layers import Conv, Dense


def test_shapes():
    shapes = [op.weight.shape for op in layers("mlp", 0) if isinstance(op, Dense)]
    assert shapes == [(128, 64), (128, 128), (128, 128), (128, 128), (10, 128)]
    assert sum(isinstance(op, Conv | Dense) for op in layers("cnn", 0)) == 8


def test_twelve_epochs_learn_the_digits():
    images, labels = (array[:500] for array in digit_images())
    network = trained("mlp", 0, images, labels, 12)
    right = classes(network, outputs(network, images / 16)) == labels
    assert right.mean() > 0.8
    again = trained("mlp", 0, images, labels, 12)
    np.testing.assert_array_equal(network.output.op.weight, again.output.op.weight)
