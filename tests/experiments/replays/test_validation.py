"""Bands, errors of models and summaries, against values worked out by hand and against chance."""

import json

import h5py
import numpy as np
import pytest
from scipy import stats

from experiments.replays import model_error, validation
from experiments.replays.fit import Fit
from experiments.replays.measurement import Measurement
from experiments.replays.model_error import ModelError, enough, half_width, measure
from experiments.replays.replay import Replay
from experiments.replays.validation import Validation, validate
from experiments.uncertainty import GRADE_FACTOR, widened
from experiments.validate import carry_out
from experiments.validation_output import figure, print_validation
from experiments.validation_summary import summary, tree
from neuro.errors import BadInput


def measured(**changes) -> Measurement:
    row = {
        "case": "a", "set": "s", "target": "edge_tpu", "workload": "mobilenet_v1", "precision": "int8", "batch": 1,
        "mode": "compiled", "quantity": "latency", "value": 2.4e-3, "boundary": "chip",
    }  # fmt: skip
    return Measurement(**row | changes)


ROWS = """case,target,workload,precision,batch,quantity,value,unit,boundary,reason,set
a,edge_tpu,mobilenet_v1,int8,1,latency,2.4,ms,,,nets
b,edge_tpu,vgg16,int8,1,latency,296,ms,,,nets
c,eyeriss_v1,alexnet_conv,int16,4,power,278,mW,chip,,power
d,other,net,int8,1,latency,1,ms,,unusual stack,nets
"""


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def off(residual: float, machine: str = "m", spread: float = 0.0, **changes) -> Replay:
    """A prediction of 1 s that is off by exp(residual), its draws log-normal of standard deviation `spread`."""
    m = measured(target=machine, value=float(np.exp(-residual)), **changes)
    draws = np.exp(spread * stats.norm.ppf((np.arange(2000) + 0.5) / 2000))
    return Replay(m, value=1.0, held_out=1.0, draws=draws, kind="tpu", model="tpu", evidence="same chip")


def test_what_a_case_asks_for_is_what_its_constants_do_not_explain():
    """Without a range of constants the residual itself; with one less; nothing where the range reaches as far."""
    assert off(0.5).asked == pytest.approx(0.5, rel=0.02)
    assert off(-0.5).asked == pytest.approx(0.5, rel=0.02)
    assert 0.2 < off(0.5, spread=0.2).asked < 0.49
    assert off(0.3, spread=0.2).asked == 0.0
    assert off(0.0).asked == 0.0


def test_a_model_errs_by_what_nine_tenths_of_the_cases_of_other_groups_ask_for():
    """Ten machines, two cases each. Without its own group each is judged by eighteen others."""
    asked = np.repeat(np.arange(1.0, 11.0), 2)
    groups = np.repeat(np.arange(10), 2)
    share = enough(asked, groups)
    held = [
        a <= np.quantile(asked[groups != g], share, method="inverted_cdf") for a, g in zip(asked, groups, strict=True)
    ]
    assert np.mean(held) == pytest.approx(0.9)
    assert share < 1.0
    less = share - 1 / 20
    held = [
        a <= np.quantile(asked[groups != g], less, method="inverted_cdf") for a, g in zip(asked, groups, strict=True)
    ]
    assert np.mean(held) < 0.9


def test_one_group_or_too_few_cases_take_the_largest():
    assert enough(np.array([0.1, 0.2, 0.4]), np.array(["m", "m", "m"])) == 1.0
    errors = measure([off(0.1), off(0.2), off(0.4)])["tpu", "batch 1", "time"]
    assert errors.half_width == pytest.approx(0.4, rel=0.02)
    assert (errors.cases, errors.machines) == (3, 1)


def test_two_cases_say_nothing_and_regimes_and_aspects_are_kept_apart():
    rows = [off(0.1), off(0.1), off(0.1, batch=8), off(0.1, quantity="energy")]
    assert measure(rows) == {}
    assert set(measure([*rows, off(0.2)])) == {("tpu", "batch 1", "time")}


def test_where_nothing_is_known_the_grade_stands_in(monkeypatch):
    key = ("gpu", "batch 1", "time")
    known = {key: ModelError(0.2, 5, 2)}
    assert half_width(known, key, "same chip") == known[key].half_width
    assert half_width(known, key, "undisclosed") == pytest.approx(np.log(GRADE_FACTOR["undisclosed"]))
    other = ("gpu", "batch", "time")
    assert half_width(known, other, "same family") == pytest.approx(np.log(GRADE_FACTOR["same family"]))
    monkeypatch.setattr(model_error, "load", lambda: known)
    assert model_error.evidence("gpu", 1, "time", "same chip") == "5 measurements of 2 machines"
    assert model_error.evidence("gpu", 1, "time", "undisclosed") == "undisclosed"
    assert model_error.evidence("gpu", 2, "time", "same chip") == "same chip"


def test_widening_adds_the_error_to_the_draws():
    """Constants alone: nothing is added. An error alone: nine tenths within its half-width."""
    same = np.linspace(1, 2, 100)
    np.testing.assert_array_equal(widened(same, 0.0), same)
    low, high = np.quantile(widened(np.ones(2000), 0.4), [0.05, 0.95])
    assert (low, high) == pytest.approx((np.exp(-0.4), np.exp(0.4)), rel=0.01)


def test_bands_cover_nine_tenths_of_cases_that_err_as_the_model_is_said_to(monkeypatch):
    """A model with an error of 20 % whose machines err independently: its own bands must hold about 90 %."""
    rng = np.random.default_rng(0)
    found = [off(0.2 * e, machine=f"m{i}") for i, e in enumerate(rng.standard_normal(300))]
    monkeypatch.setattr(validation, "replay", lambda measurements, held_out, done: found)
    result = validate([r.measurement for r in found], {})
    _, kind = result.kinds
    assert kind.coverage == pytest.approx(0.9, abs=0.04)
    low, high = kind.coverage_interval
    assert low < 0.9 < high
    assert kind.width == pytest.approx(np.exp(2 * result.errors["tpu", "batch 1", "time"].half_width), rel=0.05)


def test_a_case_does_not_widen_its_own_band(monkeypatch):
    """Three good machines and a bad one: the bad one's band comes from the good ones, and misses it."""
    found = [off(0.01, "a"), off(-0.01, "b"), off(0.01, "c"), off(1.0, "bad")]
    monkeypatch.setattr(validation, "replay", lambda measurements, held_out, done: found)
    result = validate([r.measurement for r in found], {})
    assert [row.inside for row in result.rows] == [True, True, True, False]
    assert result.rows[-1].high < 1.1
    assert result.rows[0].high > 1.5


def test_a_row_that_a_constant_was_read_off_tests_nothing(monkeypatch):
    found = [off(0.1, "a"), off(0.1, "b"), off(0.1, "c"), off(0.0, "d", taken="active power")]
    monkeypatch.setattr(validation, "replay", lambda measurements, held_out, done: found)
    result = validate([r.measurement for r in found], {})
    assert result.errors["tpu", "batch 1", "time"].cases == 3
    assert result.kinds[0].cases == 4
    assert result.kinds[0].replayed == 3
    assert result.kinds[0].error == pytest.approx(np.expm1(0.1))


def test_few_machines_speak_for_themselves_only():
    key = ("fpga", "batch", "energy")
    two, three = ({key: ModelError(0.1, 9, n)} for n in (2, 3))
    assert half_width(two, key, "same chip") == 0.1
    assert half_width(two, key, "same family") == pytest.approx(np.log(GRADE_FACTOR["same family"]))
    assert half_width(three, key, "same family") == 0.1


def test_no_model_is_without_error():
    assert measure([off(0.0)] * 5)["tpu", "batch 1", "time"].half_width == pytest.approx(np.log(1.05))


def test_held_out_predictions_shift_the_band(monkeypatch):
    r = Replay(measured(fit="g"), value=1.0, held_out=2.0, draws=np.ones(100), kind="tpu", model="tpu", fitted=True)
    monkeypatch.setattr(validation, "replay", lambda measurements, held_out, done: [r])
    (row,) = validate([r.measurement], {}, errors={}).rows
    assert row.median == pytest.approx(2.0, rel=0.01)


def test_a_users_cases_end_to_end(cases, tmp_path, capsys):
    result, found = carry_out("all", cases, tmp_path / "v.h5")
    assert [c["case"] for c in found["cases"]] == ["a", "b", "c", "d"]
    a, _, c, d = found["cases"]
    assert a["measured"] == pytest.approx(2.4e-3)
    assert a["predicted"]["p5"] < a["predicted"]["p50"] < a["predicted"]["p95"]
    assert a["error"] == pytest.approx(a["in_sample_error"])
    assert not a["fitted"]
    assert (c["boundary"], a["boundary"], c["unit"]) == ("chip", None, "W")
    assert (d["predicted"], d["error"], d["reason"]) == (None, None, "unusual stack")
    assert found["summary"]["nets"]["cases"] == 3
    assert found["summary"]["nets"]["replayed"] == 2
    json.dumps(found, allow_nan=False)
    with h5py.File(tmp_path / "v.h5") as file:
        assert file.attrs["schema"] == "neuro.validation/1"
        assert file["cases/measured"][0] == pytest.approx(2.4e-3)
        assert file["cases/reason"].asstr()[3] == "unusual stack"
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")
    print_validation(result, everything=True)
    printed = capsys.readouterr().out
    assert "d: unusual stack" in printed
    assert "296 ms" in printed


def test_fits_are_not_for_a_users_cases(cases, tmp_path):
    text = ROWS.replace(",set\n", ",set,fit\n").replace("nets\n", "nets,vgg16\n").replace("power\n", "power,\n")
    cases.write_text(text)
    _, found = carry_out("all", cases, tmp_path / "v.h5")
    assert not any(c["fitted"] for c in found["cases"])


def test_a_record_that_cannot_be_written_is_refused_before_the_work(cases, tmp_path):
    (tmp_path / "v.h5").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        carry_out("all", cases, tmp_path / "v.h5")


def test_long_sets_are_cut_to_the_worst_and_said_to_be(monkeypatch, capsys):
    found = [off(0.001 * i, machine=f"m{i}", case=f"case {i}") for i in range(100)]
    monkeypatch.setattr(validation, "replay", lambda measurements, held_out, done: found)
    result = validate([r.measurement for r in found], {"tpu": Fit()})
    print_validation(result, everything=False)
    printed = capsys.readouterr().out
    assert "the 8 worst of 100" in printed
    assert "case 99" in printed
    assert "case 50 " not in printed


def test_nothing_replayed_is_still_a_validation(tmp_path):
    empty = validate([measured(reason="listed only", value=float("nan"))], {})
    found = summary(empty, "r")
    assert found["summary"]["s"]["median_abs_error"] is None
    assert found["cases"][0]["measured"] is None
    assert len(tree(empty, "neuro", "now")["/cases"]["case"]) == 1
    assert figure(empty, tmp_path / "f.png").is_file()
    assert isinstance(empty, Validation)


def test_a_set_may_have_any_name(cases, tmp_path):
    cases.write_text(ROWS.replace("nets\n", "$x^$\n"))
    _, found = carry_out("all", cases, tmp_path / "v.h5")
    assert found["summary"]["$x^$"]["replayed"] == 2
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")


def test_a_set_does_not_hide_the_kind_of_its_name(cases, tmp_path):
    """Two of the three rows that are replayed are of a TPU; the set of that name holds the third."""
    cases.write_text(ROWS.replace(",power\n", ",tpu\n"))
    _, found = carry_out("all", cases, tmp_path / "v.h5")
    assert (found["summary"]["tpu"]["replayed"], found["summary"]["set tpu"]["replayed"]) == (2, 1)
    assert found["summary"]["asic"]["replayed"] == 1
