import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import cli
from experiments.conversion import convert, diagnosis_figure, diagnosis_table
from experiments.conversion.convert import Task
from experiments.conversion.diagnosis import diagnose
from experiments.prepared import Prepared
from neuro.graph import Graph
from neuro.layers import Threshold


@pytest.fixture(scope="module")
def done(network, dataset):
    return convert.convert(Prepared(network, dataset, "test"), Task("tiny", levels=3, weight_bits=4))


@pytest.fixture(scope="module")
def rated(network, dataset):
    return convert.convert(Prepared(network, dataset, "test"), Task("tiny", method="percentile", steps=8))


@pytest.fixture(scope="module")
def found(done):
    return diagnose(done)


def test_scores_are_those_of_the_conversion(done, found):
    summary = convert.summary(done, Task("tiny", levels=3, weight_bits=4))
    assert found.scores["float"] == summary["accuracy"]["float"] == 1.0
    assert found.scores["converted"] == summary["accuracy"]["spiking"]
    assert [layer.layer for layer in found.layers] == ["relu", "pool.neurons", "output"]
    assert set(found.on) == set(found.off) == {"clipping", "levels", "weights"}


def test_causes_add_up_to_the_total_within_the_rest(found):
    for layer in found.layers:
        assert all(value >= 0 for value in layer.causes.values())
        assert layer.rest == pytest.approx(layer.total - sum(layer.causes.values()))
        assert abs(layer.rest) < sum(layer.causes.values())  # fitted weights make up for errors that they inherit
    first, _, last = found.layers
    assert first.causes["inherited"] == 0
    assert first.causes["levels"] > 0
    assert set(last.causes) == {"inherited", "weights"}


def test_finer_weights_leave_the_other_causes_alone(network, dataset, found):
    fine = diagnose(convert.convert(Prepared(network, dataset, "test"), Task("tiny", levels=3, weight_bits=8)))
    coarse, finer = (loss.layers[0].causes["weights"] for loss in (found, fine))  # it inherits nothing to make up for
    assert finer < coarse


def test_the_code_has_its_share_under_firing_rates(rated):
    found = diagnose(rated, items=20)
    assert found.items == 20
    assert found.off["code"] is not None
    assert found.on["code"] is None
    assert {"unevenness", "lateness"} <= set(found.layers[0].causes)
    assert found.layers[0].causes["unevenness"] > 0
    assert "saturation" not in found.layers[0].causes
    narrow = diagnose(rated, items=20, limit=300.0)
    assert narrow.layers[0].causes["saturation"] > 0
    assert narrow.layers[0].causes["unevenness"] == pytest.approx(found.layers[0].causes["unevenness"])


def test_regression_is_scored_by_its_error(network, dataset):
    targets = np.asarray(convert.outputs(network, dataset.network_input), np.float64)
    real = replace(dataset, y=None, targets=targets, unit="m")
    found = diagnose(convert.convert(Prepared(network, real, "test"), Task("tiny")))
    assert (found.measure, found.unit) == ("rmse", "m")
    assert found.scores["float"] == pytest.approx(0, abs=1e-5)
    assert found.scores["converted"] > 0.01
    assert found.on["weights"] < found.on["levels"]


def test_without_labels_there_are_errors_but_no_scores(network, dataset):
    found = diagnose(convert.convert(Prepared(network, replace(dataset, y=None), "test"), Task("tiny")))
    assert found.scores == {"float": None, "converted": None}
    assert found.layers[0].total > 0
    diagnosis_table.show(found)


def test_a_broken_neuron_is_named(done):
    layer = done.spiking["pool.neurons"]
    op = layer.op
    assert isinstance(op, Threshold)
    threshold = np.array(np.broadcast_to(op.threshold, (4, 2, 2)))
    threshold[2, 1, 0] += threshold[2, 1, 0] // 3 + 1
    broken = replace(layer, op=replace(op, threshold=threshold))
    nodes = tuple(broken if n.name == layer.name else n for n in done.spiking.nodes)
    wrong = replace(done, spiking=Graph(done.spiking.name, nodes, done.spiking.schedule))
    assert convert.diverging(done) is None
    found = convert.diverging(wrong)
    assert found is not None
    assert (found.layer, found.index) == ("pool.neurons", (2, 1, 0))
    assert found.got == found.expected - 1


def test_figure_and_table(found, rated, tmp_path, capsys):
    for number, each in enumerate((found, diagnose(rated, items=10))):
        path = diagnosis_figure.draw(each, "tiny", tmp_path / f"{number}.png")
        assert path.read_bytes()[:4] == b"\x89PNG"
        diagnosis_table.show(each)
        text = capsys.readouterr().out
        assert "pool.neurons" in text
        assert "rest" in text
        assert "clipping" in text
        assert ("unevenness" in text) == bool(number)


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [
        "neuro", "convert", "digits-cnn", "--samples", "40", "--levels", "3", "--diagnose", "--json",
        "--figure", str(tmp_path / "d.png"),
    ])  # fmt: skip
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    out = json.loads(capsys.readouterr().out)["diagnosis"]
    assert out["items"] == 40
    assert len(out["layers"]) == 6
    assert out["figure"] == str(tmp_path / "d.png")
    assert (tmp_path / "d.png").exists()
    monkeypatch.setattr("sys.argv", ["neuro", "convert", "digits-cnn", "--figure", str(tmp_path / "d.png")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "--diagnose" in capsys.readouterr().err


def test_integer_form_of_a_rate_code_counts_biases_in_every_step(rated):
    values = rated.values
    off = np.abs(values["integer"] - values["float"]).mean()  # eight steps
    assert off < 0.25 * np.abs(values["float"]).mean()
