"""What holds against a bare roofline: its figures by hand, and that no model of any machine beats it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import device as machines
from baselines import from_shapes, roofline
from baselines.device import known, load, nominal
from baselines.workload import Workload, convolution, dense
from neuro.cost import cost
from neuro.errors import DoesNotFit

DEVICES = {name: load(name) for name in known()}
# What skips multiplications by zero, or does with fewer of them (Winograd), may do more of them than it has units for.
SKIPPING = {name for name, d in DEVICES.items() if d.kind == "cpu" or getattr(d, "sparse", None)}


def spent(name: str, work: Workload, precision: str, batch: int):
    device = DEVICES[name]
    boundary = next(iter(device.power))
    return cost(machines.counts(device, work, precision, batch), machines.prices(device, nominal(device), boundary))


@pytest.mark.parametrize(
    ("name", "precision", "macs", "bandwidth"),
    # Data sheets: 624 TOPS and 1555 GB/s; 92 TOPS and 34 GB/s; 168 elements at 200 MHz; 4 TOPS.
    [("a100_pcie_40gb", "int8", 312e12, 1555e9), ("tpu_v1", "int8", 46e12, 34e9), ("eyeriss_v1", "int16", 33.6e9, None),
     ("edge_tpu", "int8", 2e12, None), ("xeon_e5_2699v3", "fp32", 0.65e12, 51e9)],
)  # fmt: skip
def test_peaks_by_hand(name, precision, macs, bandwidth):
    peak = roofline.roof(DEVICES[name], precision)
    assert peak.macs == pytest.approx(macs, rel=0.03)
    if bandwidth:
        assert peak.bytes == pytest.approx(bandwidth, rel=0.03)


def test_time_is_the_slower_of_arithmetic_and_what_must_move():
    """A100, int8: a convolution waits for arithmetic, a product for its 16 MB of weights and 4096 + 4096 values."""
    device = DEVICES["a100_pcie_40gb"]
    wide = convolution("c", (512, 512), (3, 3), (1, 1), (58, 58), (56, 56))
    macs = 512 * 512 * 9 * 56 * 56
    assert roofline.seconds(device, Workload("w", (wide,)), "int8", 64) == pytest.approx(64 * macs / 312e12)
    thin = dense("f", 4096, 4096)
    moved = 4096 * 4096 + 4096 + 64 * 8192
    assert roofline.seconds(device, Workload("w", (thin,)), "int8", 64) == pytest.approx(moved / 1555e9)
    # Between two layers nothing must move: the second one's values stay in the cache.
    two = Workload("w", (thin, dense("g", 4096, 10)))
    moved += 4096 * 10 + 10 - 64 * (4096 - 10)
    assert roofline.seconds(device, two, "int8", 64) == pytest.approx(moved / 1555e9)


@pytest.mark.parametrize(("precision", "picojoules"), [("fp32", 4.6), ("fp16", 1.5), ("int8", 0.3), ("int4", 0.3)])
def test_energy_is_arithmetic_alone(precision, picojoules):
    work = Workload("w", (dense("f", 1000, 100),))
    assert roofline.joules(work, precision) == pytest.approx(1e5 * picojoules * 1e-12)


def test_quantities_are_consistent():
    device, work = DEVICES["l4"], from_shapes.load("resnet50")
    at = {q: roofline.predict(device, work, "int8", 8, q) for q in ("latency", "throughput", "energy", "power")}
    assert at["throughput"] == pytest.approx(8 / at["latency"])
    assert at["power"] == pytest.approx(at["energy"] * at["throughput"])


@pytest.mark.parametrize("name", sorted(set(DEVICES) - SKIPPING))
@pytest.mark.parametrize("network", ["resnet50", "mlperf_tiny_ic", "bert_large:sequence=64", "kws_blouw"])
def test_no_network_beats_the_roofline(name, network):
    device, work = DEVICES[name], from_shapes.load(network)
    for precision in device.precision:
        for batch in (1, 32):
            try:
                found = spent(name, work, precision, batch)
            except DoesNotFit:
                continue
            assert float(found.interval) * batch >= roofline.seconds(device, work, precision, batch) * (1 - 1e-5)


@given(
    name=st.sampled_from(sorted(DEVICES)),
    sizes=st.lists(st.integers(1, 1500), min_size=2, max_size=4),
    batch=st.integers(1, 64),
    grown=st.integers(1, 900),
    where=st.integers(0, 3),
)
def test_a_bigger_network_is_never_faster_or_cheaper(name, sizes, batch, grown, where):
    """Any machine, fully connected layers, one width or the batch grown."""
    device = DEVICES[name]
    precision = next(iter(device.precision))
    more = list(sizes)
    more[where % len(sizes)] += grown

    def run(widths: list[int], number: int):
        layers = (dense(f"l{i}", a, b) for i, (a, b) in enumerate(pairwise(widths)))
        return spent(name, Workload("w", tuple(layers)), precision, number)

    try:
        less, wider, longer = run(sizes, batch), run(more, batch), run(sizes, batch + grown)
    except DoesNotFit:
        return
    if device.kind == "fpga":  # a pipeline is folded anew, by the divisors of its widths: only the batch can be grown
        wider = less
    for other in (wider, longer):
        assert float(other.latency) >= float(less.latency) * (1 - 1e-5)
    # A row-stationary array is cut for time; another cut for a layer that is a little larger may move fewer words.
    slack = 0.03 if getattr(device, "dataflow", "") == "row" else 1e-5
    assert float(wider.total) >= float(less.total) * (1 - slack)
    assert float(longer.total) * (batch + grown) >= float(less.total) * batch * (1 - slack)


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_fewer_bits_never_cost_more(name):
    """The integer network in 8 bits against the same one in wider formats of the same machine."""
    device, work = DEVICES[name], from_shapes.load("mlperf_tiny_ic")
    offered = [p for p in ("int8", "int16", "fp16", "bf16", "fp32") if p in device.precision]
    try:
        costs = [spent(name, work, precision, 1) for precision in offered]
    except DoesNotFit:
        return
    for narrow, wide in pairwise(costs):
        # A chip is filled anew for every width: a faster design may burn more.
        assert device.kind == "fpga" or float(narrow.total) <= float(wide.total) * (1 + 1e-5)
        # The tensor units of a GPU take a microsecond longer to start than its vector units.
        assert float(narrow.latency) <= float(wide.latency) * (1.01 if device.kind == "gpu" else 1 + 1e-5)
