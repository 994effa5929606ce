"""Methods with neurons of their own: online codes equal the integer network, approximate ones are held against it."""

import json

import numpy as np
import pytest

from converters import fold, quantise
from converters.hybrid import whole_run
from experiments.conversion import convert_command, methods
from experiments.conversion.convert import Task, carry_out, convert, diverging, summary
from experiments.conversion.methods import Choices, latency
from experiments.options import DataOptions, FormOptions
from experiments.prepared import Prepared
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.rectified import Bursts, Shifted, Silenced

SAMPLES = 40


@pytest.fixture(scope="module")
def ran(network, dataset):
    """A function from a method and its options to the conversion of the tiny network and its summary."""
    source = Prepared(network, dataset, "test")

    def run(method: str, **options):
        task = Task("tiny", method=method, **options)  # pyright: ignore
        done = convert(source, task)
        return done, summary(done, task)

    return run


def digits(method: str, **options):
    return carry_out(Task("digits-cnn", samples=SAMPLES, method=method, **options))  # pyright: ignore


@pytest.mark.parametrize("method", ["sd-ternary", "sd-pow2", "sd-graded"])
def test_online_codes_end_at_the_integer_network(method, ran):
    run, outputs = (digits, 10) if method == "sd-pow2" else (ran, 3)
    done, found = run(method, levels=7)
    assert found["equivalence"] == {
        "checked": SAMPLES * (found["neurons"] + outputs), "mismatches": 0, "code": method, "first": None,
    }  # fmt: skip
    assert (found["agreement"], found["levels"]) == (1.0, [7])
    np.testing.assert_array_equal(done.values["spiking"], done.values["integer"])
    assert json.loads(json.dumps(found)) == found
    assert diverging(done) is None


def test_the_smaller_the_changes_the_more_of_them(ran):
    spikes = {
        method: ran(method, levels=7)[1]["spikes_per_neuron"] for method in ("sd-graded", "sd-pow2", "sd-ternary")
    }
    assert spikes["sd-graded"] < spikes["sd-pow2"] < spikes["sd-ternary"]


def test_shifted_neurons_decide_as_the_integer_network_and_rounds_make_them_equal():
    """The steps before are as many as those of the run: every decision is that of the integer network of as many
    levels. Further rounds leave no value that differs."""
    done, one = digits("cos", steps=4)
    _, four = digits("cos", steps=4, rounds=4)
    assert one["agreement"] == four["agreement"] == 1.0
    assert four["equivalence"]["mismatches"] == 0 < one["equivalence"]["mismatches"]
    assert one["equivalence"]["first"] == str(diverging(done))
    assert "expected" in one["equivalence"]["first"]


def test_the_integer_form_is_the_rate_network_over_all_its_steps(ran, network, dataset, numpy_evaluate):
    """Checked by another way: the integer network of 4 steps in NumPy, fed with what the input neurons send."""
    done, found = ran("cos", steps=4, rounds=4)
    assert found["equivalence"]["mismatches"] == 0
    folded = fold.fold(network, dataset.gain, dataset.offset)
    integer = quantise.rate(folded, dataset.calibration_counts, dataset.levels, 4, rule="mse")
    sent = np.floor((4 * dataset.counts + dataset.levels // 2) / dataset.levels)
    graph = whole_run(integer, 4).graph
    want = numpy_evaluate(graph, sent.astype(np.int64))[graph.output.name]
    np.testing.assert_array_equal(done.run.outputs, want)


@pytest.mark.parametrize(("method", "options"), [("burst", {"members": 4}), ("differential", {"values": 6})])
def test_few_steps_suffice_for_neurons_that_send_more_at_once(method, options, ran):
    few, many = (ran(method, steps=steps, **options) for steps in (1, 8))
    errors = [np.abs(done.values["spiking"] - done.values["float"]).mean() for done, _ in (few, many)]
    assert errors[1] < errors[0] / 2
    assert many[1]["accuracy"]["spiking"] >= 0.95
    assert many[1]["equivalence"]["code"] == method
    assert 0 < many[1]["equivalence"]["mismatches"] < many[1]["equivalence"]["checked"]


def line(depth: int) -> Graph:
    one, w = np.ones(1, np.int64), Dense(np.array([[1]]), None)
    nodes = [Node("in", Input((1,), 4))]
    for k in range(depth):
        nodes.append(Node(f"w{k}", w, (nodes[-1].name,)))
        nodes.append(Node(f"n{k}", Threshold(one, 0 * one, 4), (f"w{k}",)))
    nodes += [Node("w", w, (nodes[-1].name,)), Node("out", Scale(one, 0 * one), ("w",))]
    return Graph("line", tuple(nodes))


def test_latency_by_hand():
    """Two layers, 4 steps: the input sends in 0..3, the layers in 1..4 and 2..5, the read-out has all after step 6.
    Silent neurons run 3 steps before; shifted ones wait for a whole train of their sources first, once or twice."""
    graph = line(2)
    assert latency(graph, 4, Bursts(2)) == 7
    assert latency(graph, 4, Silenced(3)) == 10
    assert latency(graph, 4, Shifted(4)) == 7 + 2 * 4
    assert latency(graph, 4, Shifted(4, 2)) == 7 + 2 * 2 * 4
    assert latency(line(0), 4, Shifted(4)) == 5


def test_synaptic_operations_and_spikes_by_hand():
    """Input 3 of 4, weights one, powers of two: the input sends 4, then -1; the neuron 4, then -1; each event meets
    one synapse."""
    form = quantise.Quantised(line(1), {}, {})
    found = methods.carry_out("sd-pow2", form, np.array([[3]]), Choices(), lambda n: None)
    assert (found.spikes.tolist(), found.synops.tolist(), found.mismatches, found.steps) == ([4.0], [4.0], 0, 3)
    assert found.by_layer == {"in": 2.0, "n0": 2.0}
    graded = methods.carry_out("sd-graded", form, np.array([[3], [0]]), Choices(), lambda n: None)
    assert (graded.spikes.tolist(), graded.outputs.ravel().tolist()) == ([2.0, 0.0], [3.0, 0.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cos", "code": "rate"}, "--code rate: the neurons of --method cos"),
        ({"method": "srp", "rounds": 2}, "--rounds is for --method cos"),
        ({"members": 2}, "--members is for --method burst"),
        ({"method": "burst", "members": 0}, "--members 0 is out of range"),
        ({"method": "cos", "steps": 4, "prerun": 5}, "--prerun 5 is out of range; give 1 to 4"),
        ({"method": "differential", "values": 17}, "--values 17 is out of range"),
        ({"method": "sd-pow2", "reset": "zero"}, "--reset and --v0"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(BadInput, match=message):
        Task("digits-cnn", **options)


def test_nothing_is_stored_or_diagnosed(tmp_path):
    with pytest.raises(BadInput, match="run here alone"):
        Task("digits-cnn", method="sd-pow2", out=tmp_path / "net.h5")
    with pytest.raises(BadInput, match="--diagnose knows exact and rate codes"):
        convert_command.convert("digits-cnn", method="cos", diagnose=True)


def test_what_is_printed(capsys):
    convert_command.convert("digits-cnn", data=DataOptions(samples=10), method="burst", form=FormOptions(steps=2))
    text = " ".join(capsys.readouterr().out.split())
    assert "values differ from the integer network" in text
    assert "of the decisions are those of the integer network" in text


def test_balanced_thresholds_fire_at_rates(ran):
    done, found = ran("ltb", steps=8)
    assert found["equivalence"]["code"] == "rate"
    assert found["agreement"] > 0.8
    assert len(np.unique(done.converted.integer.scales["relu"])) > 1
