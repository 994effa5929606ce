"""What holds for machines of every kind: precisions, limits, complete prices, draws of constants, the best batch."""

import re

import jax
import jax.numpy as jnp
import pytest

from baselines import device as machines
from baselines.description import precisions
from baselines.device import known, load, nominal
from baselines.workload import Workload, dense
from neuro.constants import leaves
from neuro.cost import cost, unpriced
from neuro.errors import BadInput, DoesNotFit

SMALL = Workload("small", (dense("a", 200, 100), dense("b", 100, 10)))
PAIRS = [(name, precision) for name in known() for precision in load(name).precision]


@pytest.mark.parametrize(
    ("name", "network", "offered"),
    [
        ("a100_pcie_40gb", "float", ["fp16", "bf16", "fp32"]),
        ("a100_pcie_40gb", "integer", ["int8", "fp16", "bf16", "fp32"]),
        ("tpu_v4", "float", ["bf16", "fp32"]),
        ("tpu_v4", "integer", ["int8", "bf16", "fp32"]),
        ("eyeriss_v1", "float", ["int16"]),
        ("eyeriss_v1", "integer", ["int16"]),
        ("stm32l4r5", "float", ["fp32"]),
        ("stm32h7a3", "integer", ["int8", "fp32"]),
        ("edge_tpu", "integer", ["int8"]),
        ("edge_tpu", "float", []),
    ],
)
def test_precisions(name, network, offered):
    device = load(name)
    assert precisions(list(device.precision), network) == offered
    if offered:
        assert machines.precision_for(device, network) == offered[0]


def test_arm_without_a_precision_says_why():
    with pytest.raises(DoesNotFit, match=r"edge_tpu runs int8 only, which cannot hold a float network; price its"):
        machines.precision_for(load("edge_tpu"), "float")


@pytest.mark.parametrize(
    ("name", "asked", "run"),
    [("a100_pcie_40gb", "int8", "int8"), ("a100_pcie_40gb", "int16", "fp32"), ("eyeriss_v1", "int8", "int16"),
     ("tpu_v4", "fp16", "fp32"), ("stm32l4r5", "bf16", "fp32")],
)  # fmt: skip
def test_unsupported_precision_runs_in_the_next_wider(name, asked, run):
    device = load(name)
    assert machines.native(device, asked) == run
    events = machines.counts(device, SMALL, asked, 1)
    expected = machines.counts(device, SMALL, run, 1)
    pairs = zip(jax.tree_util.tree_leaves(events), jax.tree_util.tree_leaves(expected), strict=True)
    assert events.latency.names == expected.latency.names
    assert all(bool((a == b).all()) for a, b in pairs)


@pytest.mark.parametrize(("name", "precision"), [("edge_tpu", "int16"), ("edge_tpu", "fp32"), ("eyeriss_v1", "fp16")])
def test_nothing_wider_is_refused(name, precision):
    with pytest.raises(DoesNotFit, match=f"{name} runs .* only, nothing as wide as {precision}"):
        machines.counts(load(name), SMALL, precision, 1)


def test_misspelt_precision_boundary_and_batch_are_refused():
    device = load("tpu_v4")
    with pytest.raises(BadInput, match=r"unknown precision 'int9'\. Did you mean 'int8'"):
        machines.counts(device, SMALL, "int9", 1)
    with pytest.raises(BadInput, match="tpu_v4 has no price at boundary 'system'; it has chip"):
        machines.prices(device, nominal(device), "system")
    with pytest.raises(BadInput, match="a batch of 0"):
        machines.counts(device, SMALL, "int8", 0)


@pytest.mark.parametrize(("name", "precision"), PAIRS)
def test_everything_counted_is_priced_and_the_ledger_adds_up(name, precision):
    device = load(name)
    counts = machines.counts(device, SMALL, precision, 1)
    for boundary in device.power:
        prices = machines.prices(device, nominal(device), boundary)
        assert unpriced(counts, prices) == []
        spent = cost(counts, prices)
        by_hand = sum(float(counts.events[e]) * float(prices.energy[e]) for e in counts.events)
        by_hand += device.power[boundary].active.value * float(spent.interval)
        assert float(spent.total) == pytest.approx(by_hand, rel=1e-5)
        assert float(spent.latency) > 0


@pytest.mark.parametrize(("name", "precision"), PAIRS)
def test_constants_flow_through_as_traced_draws(name, precision):
    """E is linear in energies and powers and t in times: doubling all of them doubles E, as a traced draw too."""
    device = load(name)
    counts = machines.counts(device, SMALL, precision, 1)
    values = nominal(device)
    scaled = [path for path, constant in leaves(device) if constant.unit in ("J", "W")]

    @jax.jit
    def total(factor):
        drawn = {p: jnp.float32(v) * (factor if p in scaled else jnp.float32(1)) for p, v in values.items()}
        return cost(counts, machines.prices(device, drawn, "chip")).total

    energies = jax.vmap(total)(jnp.array([1.0, 2.0], jnp.float32))
    plain = float(cost(counts, machines.prices(device, values, "chip")).total)
    assert [float(e) for e in energies] == pytest.approx([plain, 2 * plain], rel=1e-4)
    assert float(jax.grad(total)(jnp.float32(1.5))) == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "constant"),
    [("a100_pcie_40gb", "overhead.compiled.host"), ("tpu_v4", "overhead.inference"), ("edge_tpu", "overhead.inference"),
     ("eyeriss_v1", "energy.external"), ("stm32l4r5", "precision.int8.dense")],
)  # fmt: skip
def test_cost_rises_with_a_constant(name, constant):
    device = load(name)
    counts = machines.counts(device, SMALL, "int8", 1)

    def total(value):
        return cost(counts, machines.prices(device, {**nominal(device), constant: value}, "chip")).total

    assert float(jax.grad(total)(jnp.float32(nominal(device)[constant]))) > 0


@pytest.mark.parametrize(
    ("name", "network", "precision", "batch", "reason"),
    [
        ("stm32l4r5", "vww", "int8", 1, None),
        ("stm32l4r5", "resnet50", "int8", 1, r"weights of resnet50-v1.5 need 25,530,472 bytes of flash.*2,097,152"),
        ("stm32l4r5", "ic", "int8", 2, r"a batch of 2; at most 1 in flight"),
        ("eyeriss_v1", "alexnet", "int16", 8, r"a batch of 8; at most 4"),
        ("edge_tpu", "vgg16", "int8", 1, None),
        ("tpu_v4", "resnet50", "bf16", 4096, None),
        ("tpu_v4", "vgg16", "fp32", 4096, r"values of vgg16 need 106,723,847,328 bytes"),  # 4 (138.4 M + 4096 × 6.48 M)
    ],
)
def test_limits(networks, name, network, precision, batch, reason):
    found = machines.fits(load(name), networks[network], precision, batch)
    assert found is None if reason is None else re.search(reason, found or "")
    if reason:
        with pytest.raises(DoesNotFit, match=reason):
            machines.counts(load(name), networks[network], precision, batch)


@pytest.mark.parametrize(
    ("name", "network", "precision"),
    [("a100_pcie_40gb", "kws", "int8"), ("tpu_v4", "vww", "bf16"), ("eyeriss_v1", "alexnet", "int16")],
)
def test_best_batch_is_the_cheapest_of_all_that_fit(networks, priced, name, network, precision):
    device, work = load(name), networks[network]
    energy = {}
    for exponent in range(13):
        if machines.fits(device, work, precision, 2**exponent) is None:
            energy[2**exponent] = float(priced(name, work, precision, 2**exponent).total)
    best = machines.best_batch(device, work, precision, "chip")
    assert energy[best] == min(energy.values())
    assert best > 1


@pytest.mark.parametrize("name", ["edge_tpu", "stm32l4r5", "stm32h7a3"])
def test_machines_that_cannot_batch(name):
    assert machines.best_batch(load(name), SMALL, "int8", "chip") == 1


def test_best_batch_of_what_does_not_fit(networks):
    with pytest.raises(DoesNotFit, match="flash"):
        machines.best_batch(load("stm32l4r5"), networks["vgg16"], "int8", "chip")
