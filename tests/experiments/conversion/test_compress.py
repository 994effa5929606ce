"""Compressing: what each step leaves, what is stored, and that both sides of a comparison get it."""

import json

import numpy as np
import pytest

from baselines.from_graph import workload
from converters import network_file
from converters.compression.pruning import weights, zero_share
from experiments.conversion.compress import Task, carry_out
from experiments.conversion.convert import Task as Convert
from experiments.conversion.convert import carry_out as convert
from experiments.forms import with_zeros
from experiments.prepared import prepared, training_set
from neuro.errors import BadInput
from neuro.layers import Threshold


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "tuned.h5"
    task = Task("digits-cnn", prune_channels=0.25, prune=0.5, levels=7, weight_bits=4, finetune=2, out=path)
    return (*carry_out(task), path)


def test_the_steps_and_their_summary(tuned):
    _, summary, path = tuned
    assert [s["step"] for s in summary["steps"]] == [
        "float", "channels removed", "pruned", "fine-tuned", "weights rounded",
    ]  # fmt: skip
    float_, thin, pruned, refined, _ = summary["steps"]
    assert float_["weights"] > thin["weights"] == pruned["weights"]
    assert pruned["zeros"] == pytest.approx(0.5, abs=0.001) == refined["zeros"]
    assert refined["accuracy"] > pruned["accuracy"] + 0.05
    assert summary["integer"]["accuracy"] > 0.9
    assert summary["integer"]["accuracy"] == summary["steps"][0]["accuracy"] - summary["integer"]["drop"][0] / 100
    assert (summary["levels"], summary["weight_bits"]) == ([7], 4)
    assert summary["parameters"]["not_zero"] <= 0.5 * summary["parameters"]["after"] + 1
    assert summary["steps"][1]["kept"] == {"dense": "they are the output"}
    assert json.loads(json.dumps(summary)) == summary
    assert summary["file"] == str(path)


def test_the_file_holds_the_network_and_its_integers_and_convert_keeps_them(tuned):
    _, summary, path = tuned
    stored = network_file.load(path)
    assert {n.op.levels for n in stored.integer.graph.nodes if isinstance(n.op, Threshold)} == {7}
    assert stored.origin["compress.prune"] == "0.5"
    conversion, told = convert(Convert(str(path), data="digits"))
    assert told["digest"] == summary["digest"]
    assert told["equivalence"]["mismatches"] == 0
    assert told["accuracy"]["integer"] == summary["integer"]["accuracy"]
    assert told["accuracy"]["float"] == summary["steps"][-1]["accuracy"]
    assert conversion.fold_error < 1e-4


def test_both_sides_have_the_same_zeros(tuned):
    """Every weight that is zero for the chip is one for the rivals, and the other way round."""
    _, _, path = tuned
    stored = network_file.load(path)
    work = workload(with_zeros(stored.network, stored.integer.graph))
    density = {layer.name: layer.density for layer in work.layers}
    for node in stored.integer.graph.nodes:
        name = node.name.split("/")[-1]
        if name in weights(stored.network) and node.op.weight.shape == weights(stored.network)[name].shape:
            assert density[name] == pytest.approx((node.op.weight != 0).mean())
    assert min(density.values()) < 0.5


def test_without_tuning_zeros_survive_quantisation(tmp_path):
    done, summary = carry_out(Task("digits-cnn", prune=0.7, samples=100, out=tmp_path / "p.h5"))
    before, integer = weights(done.steps[-1].graph), done.converted.integer.graph
    assert summary["integer"]["zeros"] > 0.65
    for node in integer.nodes:
        name = node.name.split("/")[-1]
        if name in before and node.op.weight.shape == before[name].shape:
            assert (node.op.weight[before[name] == 0] == 0).all()
    assert zero_share(done.converted.network) == pytest.approx(zero_share(done.steps[-1].graph))


def test_two_of_four_reaches_the_machines(tmp_path):
    done, _ = carry_out(Task("digits-cnn", prune="2:4", samples=50, out=tmp_path / "f.h5"))
    patterns = {layer.name: layer.pattern for layer in workload(done.converted.network).layers}
    assert patterns["conv2"] == patterns["conv3"] == patterns["dense"] == "2:4"
    assert patterns["conv1"] == "dense"  # one input channel


def test_shared_values_stay_few_in_integers(tmp_path):
    done, summary = carry_out(Task("digits-cnn", cluster_bits=3, samples=50, out=tmp_path / "c.h5"))
    assert summary["values_per_layer"] <= 8
    assert all(len(np.unique(w)) <= 8 for w in weights(done.converted.network).values())


def test_training_items_are_prepared_as_test_items_are():
    task = Task("digits-cnn", finetune=1, input_levels=4)
    source = prepared(task)
    training = training_set(task, source.network)
    assert (len(training.x), training.levels) == (1000, 4)
    np.testing.assert_array_equal(training.counts, source.dataset.calibration_counts)
    np.testing.assert_array_equal(training.gain, source.dataset.gain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to do"),
        ({"prune": 1.0}, "below 1"),
        ({"prune": "3:4"}, "2:4"),
        ({"prune_channels": -0.5}, "below 1"),
        ({"cluster_bits": 9}, "1 to 8"),
        ({"levels": 300}, "--levels 300"),
        ({"prune": 0.5, "finetune": -1}, "0 or more"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(BadInput, match=message):
        Task("digits-cnn", **options)


def test_data_without_training_labels_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 1, 8, 8)) + np.arange(8), y=np.zeros(4, int))
    task = Task("digits-cnn", data=str(tmp_path / "d.npz"), prune=0.5, finetune=1, out=tmp_path / "n.h5")
    with pytest.raises(BadInput, match="without --finetune"):
        carry_out(task)
    assert not (tmp_path / "n.h5").exists()
