"""Fits: what was fitted is what is shipped, groups are really left out, and known constants are found again."""

import tomllib
from dataclasses import replace
from functools import reduce
from importlib import resources
from typing import get_args

import numpy as np
import pytest

from baselines import device as conventional
from experiments.replays import fit, measurement, replay, target
from experiments.replays.fit import Fit, Parameter
from experiments.replays.measurement import Kind
from neuro.constants import leaves
from neuro.units import parse

FITTED = [kind for kind in get_args(Kind) if fit.parameters(kind)]


@pytest.mark.parametrize("kind", FITTED)
def test_the_shipped_constants_are_those_of_the_fit(kind):
    """A USB stick's own overhead stands in its file; the fit shares one between two sticks to judge both."""
    for key, value in fit.load(kind).values.items():
        name, _, path = key.rpartition(":")
        if name.startswith("movidius"):
            continue
        found = [dict(leaves(target.named(name).description))[path].value] if name else _in_kind_files(kind, path)
        assert found == [pytest.approx(value, rel=0.03)], key


def _in_kind_files(kind: str, path: str) -> list[float]:
    """The constant as the files of the kind give it, in SI."""
    found = []
    for file in sorted(resources.files(conventional.KINDS).iterdir(), key=lambda f: f.name):
        if file.name.startswith(kind) and file.name.endswith(".toml"):
            entry = reduce(lambda t, k: t.get(k, {}), path.split("."), tomllib.loads(file.read_text(encoding="utf-8")))
            if entry:
                unit = next(c.unit for n in conventional.known() for p, c in leaves(conventional.load(n)) if p == path)
                found.append(parse(entry["value"], unit))
    return found


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_group_of_the_cases_was_left_out_once(kind):
    groups = {m.fit for m in measurement.bundled(kind) if m.fit and not m.reason}
    assert groups == set(fit.load(kind).held_out)
    assert bool(groups) == (kind in FITTED)


@pytest.mark.parametrize("kind", FITTED)
def test_parameters_are_constants_of_the_machines(kind):
    for parameter in fit.parameters(kind):
        assert 0 < parameter.low < parameter.high
        names = conventional.known() if parameter.devices == ("*",) else parameter.devices
        having = [n for n in names if parameter.path in dict(leaves(target.named(n).description))]
        assert having if parameter.devices == ("*",) else having == list(parameter.devices)


def test_a_fit_finds_the_constants_that_made_the_cases(monkeypatch):
    """Four made-up measurements of the Edge TPU with a slower link and a longer call; the fit starts elsewhere."""
    true = {"edge_tpu:overhead.inference": 2.5e-3, "edge_tpu:memory.bandwidth": 2.2e8}
    device = replay.refitted(target.named("edge_tpu"), true)
    template = next(m for m in measurement.bundled("tpu") if m.target == "edge_tpu")
    cases = []
    for name in ("mobilenet_v1", "vgg16", "resnet50_299", "squeezenet"):
        m = replace(template, case=name, workload=name, fit=name)
        cases.append(replace(m, value=replay.predict(m, device, device.task(m))))
    monkeypatch.setattr(measurement, "bundled", lambda kind: cases)
    wanted = [
        Parameter(path="overhead.inference", low=1e-4, high=1e-2, devices=("edge_tpu",)),
        Parameter(path="memory.bandwidth", low=1e8, high=1e9, devices=("edge_tpu",)),
    ]
    monkeypatch.setattr(fit, "parameters", lambda kind: wanted)
    found = fit.fit("tpu")
    assert found.values == pytest.approx(true, rel=0.01)
    assert set(found.held_out) == {m.workload for m in cases}
    for values in found.held_out.values():
        assert values == pytest.approx(true, rel=0.05)
    for key, (low, high) in found.ranges.items():
        assert low <= true[key] * 1.01
        assert high >= true[key] * 0.99


def test_an_outlier_moves_only_the_fits_that_see_it(monkeypatch):
    template = next(m for m in measurement.bundled("tpu") if m.target == "edge_tpu")
    names = ("mobilenet_v1", "squeezenet", "inception_v1")
    cases = [replace(template, case=n, workload=n, fit=n, value=3e-3) for n in names]
    cases[0] = replace(cases[0], value=30e-3)
    monkeypatch.setattr(measurement, "bundled", lambda kind: cases)
    wanted = [Parameter(path="overhead.inference", low=1e-4, high=1e-1, devices=("edge_tpu",))]
    monkeypatch.setattr(fit, "parameters", lambda kind: wanted)
    found = fit.fit("tpu")
    key = "edge_tpu:overhead.inference"
    assert found.held_out["mobilenet_v1"][key] < min(found.held_out[n][key] for n in names[1:])
    assert found.held_out["mobilenet_v1"][key] < found.values[key]


def test_nothing_to_fit_is_an_empty_fit(monkeypatch):
    monkeypatch.setattr(fit, "parameters", lambda kind: [])
    assert fit.fit("gpu") == Fit()
    assert np.isfinite(list(fit.load("gpu").values.values())).all()


def test_what_only_the_left_out_group_says_is_forgotten(monkeypatch):
    """The link of the dev board is known from its own cases alone: without them it is the middle of its bounds."""
    template = next(m for m in measurement.bundled("tpu") if m.target == "edge_tpu")
    pairs = [(d, w) for d in ("edge_tpu", "edge_tpu_devboard") for w in ("vgg16", "resnet50_299")]
    cases = [replace(template, case=f"{d} {w}", target=d, workload=w, fit=d, value=0.4) for d, w in pairs]
    monkeypatch.setattr(measurement, "bundled", lambda kind: cases)
    wanted = [Parameter(path="memory.bandwidth", low=1e8, high=1e9, devices=(d,)) for d in dict(pairs)]
    monkeypatch.setattr(fit, "parameters", lambda kind: wanted)
    found = fit.fit("tpu")
    key = "edge_tpu_devboard:memory.bandwidth"
    assert found.held_out["edge_tpu_devboard"][key] == pytest.approx(np.sqrt(1e8 * 1e9))
    assert found.held_out["edge_tpu"][key] == pytest.approx(found.values[key], rel=0.01)
    assert found.values[key] != pytest.approx(np.sqrt(1e8 * 1e9), rel=0.05)
