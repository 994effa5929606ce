"""Converting: exact against the integer form, in the network's own units, stored and read again."""

import json

import numpy as np
import pytest

from converters import network_file
from experiments.conversion import convert, convert_command
from experiments.conversion.convert import Task, carry_out
from experiments.networks import open_network
from experiments.options import DataOptions
from experiments.prepared import prepared
from neuro.errors import BadInput, Refusal, Unsupported
from neuro.graph import digest


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "digits.h5"
    return (*carry_out(Task("digits-cnn", samples=150, out=path)), path)


def test_the_summary(done):
    conversion, summary, _ = done
    accuracy = summary["accuracy"]
    assert accuracy["float"] > 0.9
    assert accuracy["spiking"] == accuracy["integer"] > accuracy["float"] - 0.03
    assert summary["equivalence"] == {
        "checked": 150 * (summary["neurons"] + 10), "mismatches": 0, "code": "bits", "first": None,
    }  # fmt: skip
    assert summary["steps"] == 26
    assert (summary["levels"], summary["weight_bits"], summary["unsupported"]) == ([15], 8, [])
    assert json.loads(json.dumps(summary)) == summary
    assert summary["spikes_per_neuron"] * summary["neurons"] * 150 == pytest.approx(conversion.run.spikes.sum())


def test_outputs_are_in_the_units_of_the_network(done):
    conversion, _, _ = done
    want, got = conversion.values["float"], conversion.values["spiking"]
    np.testing.assert_array_equal(got, conversion.values["integer"])
    assert np.corrcoef(want.ravel(), got.ravel())[0, 1] > 0.99
    assert np.abs(got - want).mean() < 0.1 * np.abs(want).max()


def test_a_converted_network_is_run_as_it_is_stored(done):
    conversion, first, path = done
    source = open_network(str(path))
    assert source.format == "neuro"
    assert source.converted is not None
    assert digest(source.converted.integer.graph) == first["digest"]
    again, summary = carry_out(Task(str(path), data="digits", samples=150))
    same = ("accuracy", "equivalence", "spikes_per_neuron", "steps", "digest")
    assert [summary[k] for k in same] == [first[k] for k in same]
    np.testing.assert_array_equal(again.values["spiking"], conversion.values["spiking"])
    coarser, _ = carry_out(Task(str(path), data="digits", samples=150, levels=3))
    assert digest(coarser.converted.integer.graph) != first["digest"]


def test_data_prepared_otherwise_are_refused(done):
    path = done[2]
    with pytest.raises(BadInput, match="stand for other values"):
        prepared(Task(str(path), data="digits", scale=2.0))
    with pytest.raises(BadInput, match="stand for other values"):
        prepared(Task(str(path), data="digits", input_levels=4))


def test_firing_rates():
    conversion, summary = carry_out(Task("digits-cnn", samples=60, method="percentile", steps=32))
    assert summary["equivalence"] == {"checked": None, "mismatches": None, "code": "rate", "first": None}
    assert summary["accuracy"]["spiking"] > 0.8
    assert summary["accuracy"]["integer"] > 0.9
    want, got = conversion.values["float"], conversion.values["spiking"]
    assert np.corrcoef(want.ravel(), got.ravel())[0, 1] > 0.9
    assert 0.6 < np.polyfit(want.ravel(), got.ravel(), 1)[0] < 1.2  # saturation and late spikes make it smaller


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "percentile", "code": "bits"}, "does not give the bits code"),
        ({"code": "rate"}, "one of the exact codes"),
        ({"out": "net.onnx"}, r"let its name end in \.h5"),
        ({"levels": 300}, "out of range"),
        ({"weight_bits": 9}, "out of range"),
    ],
)
def test_options_that_do_not_go_together(options, message, tmp_path):
    if "out" in options:
        options = {"out": tmp_path / options["out"]}
    with pytest.raises(BadInput, match=message):
        Task("digits-cnn", **options)


def test_the_command(capsys, tmp_path):
    out = tmp_path / "net.h5"
    convert_command.convert("digits-cnn", data=DataOptions(samples=20), code="graded", out=out, json_=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["equivalence"]["mismatches"] == 0
    assert printed["file"] == str(out)
    assert network_file.load(out).code == "graded"
    convert_command.convert("digits-cnn", data=DataOptions(samples=20))
    text = capsys.readouterr().out
    assert "0 of" in text
    assert "bits code" in text


def test_refusals_in_json(capsys, monkeypatch):
    layers = (Refusal("a", "Lstm", "no layer here does this"),)

    def refuse(task, progress):
        raise Unsupported("net: 1 layer", layers)

    monkeypatch.setattr(convert, "carry_out", refuse)
    with pytest.raises(Unsupported):
        convert_command.convert("net.onnx", json_=True)
    assert json.loads(capsys.readouterr().out) == {
        "network": "net.onnx", "format": "onnx",
        "unsupported": [{"layer": "a", "op": "Lstm", "reason": "no layer here does this"}],
    }  # fmt: skip


def test_regression_is_shown_in_its_units(capsys):
    error = {"rmse": 1.5, "mae": 1.0, "unit": "degree"}
    found = {
        "network": "n", "format": "keras", "data": {"name": "d", "items": 3, "preprocessing": "p"}, "input_levels": 255,
        "hosted": ["table"], "error": dict.fromkeys(("float", "integer", "spiking"), error),
        "equivalence": {"checked": None, "mismatches": None, "code": "rate", "first": None}, "levels": [], "neurons": 3,
        "weight_bits": 8, "spikes_per_neuron": 0.1, "synops": 3.0, "steps": 4, "file": "net.h5", "budget": None,
        "not_spiking": [],
    }  # fmt: skip
    convert_command.show(found)
    text = capsys.readouterr().out
    assert "RMSE 1.5, MAE 1 degree" in text
    assert "no equality claimed" in text
    assert "the host works out table" in text
