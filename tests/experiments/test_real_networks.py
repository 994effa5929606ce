"""Trained networks that nobody here wrote, on real images."""

import pytest

from baselines import device
from experiments import networks
from experiments.compare import Options, compare
from experiments.datasets import data
from experiments.job import Request
from experiments.prepared import dataset_for
from experiments.summary import summary
from neuro import chip

# float accuracy in % on all 10,000 test images, as published with the files; the first 300 differ by about a point
MNIST = {"mnist_cnn_cntk_mnist-8": 98.90, "mnist_fc_256x2": 98.08, "mnist_convnet_avgpool": 97.95}


@pytest.mark.parametrize("name", MNIST)
def test_exact_codes_equal_the_reference_and_keep_the_accuracy(neuro_data, monkeypatch, name):
    monkeypatch.setenv("NEURO_DATA", str(neuro_data))
    path = neuro_data / "models" / "onnx" / f"{name}.onnx"
    network = networks.load(str(path))
    dataset = dataset_for(Request(str(path), data="mnist", samples=300), network)
    found = summary(
        compare(
            network, dataset, [chip.load("loihi1"), chip.load("loihi2")], [device.load("eyeriss_v1")], Options(draws=64)
        ),
        "r",
    )
    assert found["accuracy"]["float"] == pytest.approx(MNIST[name] / 100, abs=0.015)
    for code in found["codes"]:
        if code["exact"]:
            assert code["mismatches"] == 0
            assert code["accuracy"] >= found["accuracy"]["float"] - 0.01
    (loihi1,) = [a for a in found["arms"] if a["name"] == "loihi1/spiking/rate/single"]
    assert loihi1["fits"]
    assert loihi1["energy_j"]["p50"] > 0


def test_a_residual_network_with_colour_normalisation(neuro_data, monkeypatch):
    monkeypatch.setenv("NEURO_DATA", str(neuro_data))
    path = neuro_data / "models" / "onnx" / "cifar10_resnet_4b.onnx"
    network = networks.load(str(path))
    request = Request(
        str(path), data="cifar10", samples=20, mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616)
    )
    dataset = data.take(dataset_for(request, network), 20)
    found = summary(compare(network, dataset, [chip.load("loihi2")], [], Options(draws=64)), "r")
    assert [c["mismatches"] for c in found["codes"]] == [0, 0, 0, None]
    assert found["accuracy"]["integer"] >= found["accuracy"]["float"] - 0.1
