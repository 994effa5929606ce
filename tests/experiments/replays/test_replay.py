"""Replays by hand: quantities from counts and prices, settings, constants held out."""

import jax
import numpy as np
import pytest

from baselines import device as conventional
from baselines import from_shapes
from experiments.replays import target
from experiments.replays.measurement import Measurement
from experiments.replays.replay import Replay, drawn_prices, quantity, refitted, replay
from experiments.replays.target import Conventional
from neuro.constants import leaves
from neuro.cost import Prices, cost
from neuro.counts import Counts, Path
from neuro.errors import BadInput, DoesNotFit


def measured(**changes) -> Measurement:
    row = {
        "case": "a", "set": "s", "target": "edge_tpu", "workload": "mobilenet_v1", "precision": "int8", "batch": 1,
        "mode": "compiled", "quantity": "latency", "value": 2.4e-3, "boundary": "chip",
    }  # fmt: skip
    return Measurement(**row | changes)


# Two samples: 10 events of 3 J; two stages, in the first 4 s against 6 s, in the second 5 s; 2 W at work, 1 W idle.
COUNTS = Counts(
    {"mac": np.asarray(10, np.float32)},
    latency=Path(("x", "y"), np.array([[[4, 0], [0, 3]], [[5, 0], [0, 0]]], np.float32)),
    interval=Path(("x", "y"), np.array([[[4, 0], [0, 3]]], np.float32)),
    batch=2,
)
PRICES = jax.tree_util.tree_map(lambda price: np.full(1, price), Prices({"mac": 3.0}, {"x": 1.0, "y": 2.0}, 2.0, 1.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", 6.0 + 5.0),
        ("throughput", 2 / 6),
        ("energy", 15 + 2 * 3),
        ("dynamic energy", 15 + 2 * 3 - 3),
        ("power", (15 + 6) / 3),
        ("dynamic power", (15 + 6 - 3) / 3),
    ],
)
def test_quantities_by_hand(name, value):
    assert quantity(name, COUNTS, PRICES) == pytest.approx([value])


@pytest.mark.parametrize("name", ["a100_pcie_40gb", "tpu_v4", "stm32h7a3", "eyeriss_v1"])
def test_numpy_and_the_differentiable_cost_agree(name):
    device = conventional.load(name)
    counts = conventional.counts(device, from_shapes.load("mlperf_tiny_ic"), "int8", 1)
    boundary = next(iter(device.power))
    drawn = drawn_prices(Conventional(device), boundary)
    for i in (0, 17):
        one = cost(counts, jax.tree_util.tree_map(lambda price, i=i: np.float32(price[i]), drawn))
        assert quantity("latency", counts, drawn)[i] == pytest.approx(float(one.latency), rel=1e-4)
        assert quantity("energy", counts, drawn)[i] == pytest.approx(float(one.total), rel=1e-4)


def test_the_value_is_that_of_the_model_and_the_draws_surround_it():
    (found,) = replay([measured()], {})
    device = conventional.load("edge_tpu")
    charged = conventional.prices(device, conventional.nominal(device), "chip")
    counts = conventional.counts(device, from_shapes.load("mobilenet_v1"), "int8", 1)
    assert found.value == found.held_out == pytest.approx(float(cost(counts, charged).latency), rel=1e-5)
    assert found.draws.min() < found.value < found.draws.max()
    assert (found.kind, found.fitted, found.reason) == ("tpu", False, "")
    assert found.error == pytest.approx(found.value / 2.4e-3 - 1)


def test_settings_change_constants_and_are_not_drawn():
    m = measured(settings=(("overhead.inference", "100 ms"),))
    (found,) = replay([m], {})
    assert 0.1 < found.value < 0.11
    assert found.draws.min() > 0.1
    constant = dict(leaves(target.of(m).description))["overhead.inference"]
    assert (constant.low, constant.value, constant.high) == (0.1, 0.1, 0.1)


def test_a_case_is_predicted_without_its_group():
    held = {"tpu": {"g": {"overhead.inference": 1.0, "tpu_v4:array.efficiency": 0.01, "no.such": 5.0}}}
    plain, left_out, other = replay([measured(), measured(case="b", fit="g"), measured(case="c", fit="h")], held)
    assert left_out.held_out == pytest.approx(plain.value + 1.0, rel=0.01)
    assert left_out.value == other.held_out == plain.value
    assert left_out.fitted
    assert not plain.fitted


def test_refitting_is_for_the_named_device_and_for_constants_that_it_has():
    device = conventional.load("edge_tpu")
    values = {"edge_tpu:overhead.inference": 1.0, "tpu_v4:overhead.layer": 2.0, "no.such": 3.0}
    changed = refitted(Conventional(device), values).description
    before, after = conventional.nominal(device), {path: c.value for path, c in leaves(changed)}
    assert {k for k in before if before[k] != after[k]} == {"overhead.inference"}
    assert after["overhead.inference"] == 1.0


def test_a_listed_case_has_no_prediction():
    (found,) = replay([measured(reason="unusual stack", target="no_such_machine")], {})
    assert found.reason == "unusual stack"
    assert np.isnan(found.value)


def test_no_price_at_the_boundary_is_a_reason_for_energies_only():
    energy, time = replay([measured(quantity="energy", boundary="system"), measured(case="b", boundary="system")], {})
    assert "system" in energy.reason
    assert time.reason == ""


def test_the_best_batch_is_the_fastest_that_fits():
    m = measured(target="tpu_v4", precision="bf16", quantity="throughput", value=1.0, batch=None)
    (best,) = replay([m], {})
    (eight,) = replay([measured(target="tpu_v4", precision="bf16", quantity="throughput", value=1.0, batch=8)], {})
    assert best.value > eight.value


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "edge_tpv"}, BadInput, "case 'a': unknown device or chip 'edge_tpv'.*edge_tpu"),
        ({"workload": "mobilenet"}, BadInput, "case 'a'.*mobilenet"),
        (
            {"settings": (("overhead.inferenc", "1 s"),)},
            BadInput,
            "no constant 'overhead.inferenc'",
        ),
        ({"settings": (("overhead.inference", "1 J"),)}, BadInput, "setting overhead.inference: '1 J' is not"),
        (
            {
                "target": "loihi1",
                "workload": "activity:neurons=1e300,spikes=1e300,synops=1e300",
                "quantity": "step time",
            },
            BadInput,
            "case 'a': step time is predicted as .*below 1e\\+30",
        ),
        ({"batch": 8}, DoesNotFit, "case 'a'.*batch of 8"),
        ({"precision": "fp32"}, DoesNotFit, "case 'a'.*fp32"),
    ],
)
def test_what_cannot_be_replayed_is_named(changes, error, message):
    with pytest.raises(error, match=message):
        replay([measured(**changes)], {})


def test_residuals_are_logarithms():
    r = Replay(measured(), value=1.0, held_out=2.4e-3 * np.e)
    assert r.residual == pytest.approx(1.0)
    assert r.error == pytest.approx(np.e - 1)
