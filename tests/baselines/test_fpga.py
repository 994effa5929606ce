"""The FPGA model against published FINN designs, foldings by brute force, resources and cycles by hand."""

from dataclasses import replace
from itertools import product as combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import device as machines
from baselines import fpga, fpga_folding, fpga_resources
from baselines.device import adjusted, load, nominal
from baselines.fpga import Fpga
from baselines.fpga_folding import Budget, Shape
from baselines.fpga_resources import BRAM, Bits
from baselines.workload import Workload, convolution, dense, elementwise, product
from neuro.constants import locate
from neuro.cost import cost
from neuro.errors import BadDescription, DoesNotFit

BOARDS = ("pynq_z2", "arty_a7_100t", "zc706", "zcu104", "kcu115", "vcu118", "alveo_u250")
BINARY = Bits(1, 1, 1)


def square(name: str, enter: int, leave: int, kernel: int, out: int):
    size = out + kernel - 1
    return convolution(name, (enter, leave), (kernel, kernel), (1, 1), (size, size), (out, out))


CNV = Workload("cnv", (
    square("c0", 3, 64, 3, 30), square("c1", 64, 64, 3, 28), elementwise("p1", "pool", 50176, 12544),
    square("c2", 64, 128, 3, 12), square("c3", 128, 128, 3, 10), elementwise("p2", "pool", 12800, 3200),
    square("c4", 128, 256, 3, 3), square("c5", 256, 256, 3, 1),
    dense("f6", 256, 512), dense("f7", 512, 512), dense("f8", 512, 10),
))  # fmt: skip
SFC = Workload("sfc_max", (dense("a", 784, 256), dense("b", 256, 256), dense("c", 256, 256), dense("d", 256, 10)))


def board(name: str, **values: float) -> Fpga:
    device = adjusted(load(name), {key.replace("__", "."): float(value) for key, value in values.items()})
    assert isinstance(device, Fpga)
    return device


def run(device: Fpga, work: Workload, precision: str, batch: int = 1, boundary: str = "chip"):
    return cost(machines.counts(device, work, precision, batch), machines.prices(device, nominal(device), boundary))


def test_published_folding_gives_the_published_cycles():
    """(MH / PE) (MW / SIMD) pixels of the nine layers of CNV-W1A1; serial from conv4 on, where a window is more than
    half of the map. Before that the pipeline fills: the last row of conv1, conv2 and conv3 comes after that of the
    layer before."""
    design = fpga.design(board("pynq_z2"), CNV, "int1", "dataflow")
    assert design is not None
    cycles = [32400, 28224, 20736, 28800, 20736, 18432, 32768, 32768, 1024]
    assert design.cycles == pytest.approx(cycles)
    serial = max(cycles[:4]) + sum(cycles[4:])
    assert serial == 138_128
    fills = 28224 / 28 + 20736 / 12 + 28800 / 10
    # The image streams in at 64 bits per cycle; conv0 waits for nothing else.
    found = run(board("pynq_z2"), CNV, "int1")
    assert float(found.latency) == pytest.approx((serial + fills) / 100e6, rel=0.07)
    assert float(found.latency) == pytest.approx(1.51178e-3, rel=0.05)
    assert float(found.latency) >= (serial + fills) / 100e6


def test_latency_recursion_by_hand():
    """Two 3x3 convolutions of 80 and 40 cycles: the second starts with 3 of 10 rows and ends one row later."""
    first, second = square("a", 4, 4, 3, 10), square("b", 4, 4, 3, 8)
    assert fpga_folding.latency((first,), np.array([80.0]), 10.0, None) == 80
    # b: 8 rows of 5 cycles; first row of a at 8, last at 80; its last row ends at 80 + 5.
    assert fpga_folding.latency((first, second), np.array([80.0, 40.0]), 10.0, None) == 85
    # A slow second layer is bound by itself: start 8 + 72 × 3/10 = 29.6.
    assert fpga_folding.latency((first, second), np.array([80.0, 800.0]), 10.0, None) == pytest.approx(829.6)
    # A dense layer waits for everything; slower inputs hold the first layer.
    last = dense("c", 256, 10)
    assert fpga_folding.latency((first, last), np.array([80.0, 7.0]), 100.0, None) == 107
    # By reuse factor a multiplication and ceil(8 / 3) stages of the adder tree come on top.
    assert fpga_folding.latency((last,), np.array([7.0]), 1.0, 3.0) == 7 + 1 + 3


@pytest.mark.parametrize(
    ("quantity", "published", "tolerance"),
    # 12.361 M images/s, 0.31 us, 7.3 W of the chip, 21.2 W at the wall; predicted +1, +3, -7, -13 %.
    [("rate", 12.361e6, 0.1), ("latency", 0.31e-6, 0.1), ("chip", 7.3, 0.2), ("board", 21.2, 0.2)],
)
def test_sfc_max_on_the_zc706(quantity, published, tolerance):
    device = board("zc706", target__interval=16)
    if quantity == "latency":
        found = run(device, SFC, "int1").latency
    elif quantity == "rate":
        found = 1 / run(device, SFC, "int1", 4096).interval
    else:
        spent = run(device, SFC, "int1", 4096, quantity)
        found = spent.total / spent.interval
    assert float(found) == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(("boundary", "published"), [("chip", 2.3), ("board", 10.0)])
def test_power_of_cnv_fix_on_the_zc706(boundary, published):
    """At its rate of 11.6 k images/s, which is given; predicted +10 and +9 %."""
    spent = run(board("zc706", target__interval=200e6 / 11.6e3), CNV, "int1", 4096, boundary)
    assert float(spent.total / spent.interval) == pytest.approx(published, rel=0.2)


@pytest.mark.parametrize(("work", "interval", "published"), [(SFC, 16.0, 91131), (CNV, 200e6 / 11.6e3, 29274)])
def test_look_up_tables_of_published_designs(work, interval, published):
    """Predicted -5 and +15 %."""
    found = fpga.resources(board("zc706", target__interval=interval), work, "int1")
    assert found["lut"] == pytest.approx(published, rel=0.25)


def test_energy_of_one_image_at_a_time_on_the_pynq_z2():
    assert float(run(board("pynq_z2"), CNV, "int1", 1, "board").total) == pytest.approx(2521.16e-6, rel=0.05)


def test_batch_enters_back_to_back():
    """t(B) = t(1) + (B - 1) II, so that the rate tends to clock / II: 100 MHz / 32768."""
    device = board("pynq_z2")
    one, two, many = (float(run(device, CNV, "int1", batch).latency) for batch in (1, 2, 1001))
    assert two - one == pytest.approx(32768 / 100e6, rel=1e-3)
    assert many - one == pytest.approx(1000 * 32768 / 100e6, rel=1e-3)


def test_resources_by_hand():
    """PE 2, SIMD 3, 4 × 6 weights. Binary: 2 (3 × 1 + 5 × 1 + accumulator 3 + 1 + 1 + 1 level × 5 × 2) = 46; products
    of 4 bits: width 8, a multiplier of 3 × 8, accumulator 12: 2 (3 × 24 + 40 + 12 + 15 × 12 × 2)."""
    pe, simd = np.array([2.0]), np.array([3.0])
    assert fpga_resources.logic(pe, simd, 4, 6, BINARY, True, True) == pytest.approx([2 * (3 + 5 + 5 + 10)])
    four = Bits(4, 4, 4)
    assert fpga_resources.logic(pe, simd, 4, 6, four, True, True) == pytest.approx([2 * (72 + 40 + 12 + 360)])
    assert fpga_resources.logic(pe, simd, 4, 6, four, False, False) == pytest.approx([2 * (40 + 12)])


@pytest.mark.parametrize(
    ("width", "depth", "count"), [(36, 512, 1), (36, 513, 2), (1, 16384, 1), (18, 1024, 1), (72, 512, 2), (9, 4096, 2)]
)
def test_block_rams_by_hand(width, depth, count):
    assert fpga_resources.blocks(np.array([float(width)]), np.array([float(depth)]), BRAM) == [count]


def test_look_up_table_memory_by_hand():
    """32 x 2 or 64 x 1 bits in each: 10 bits take 5 at depth 32, 10 at depth 64, 15 at depth 65."""
    depth = np.array([16.0, 32.0, 64.0, 65.0])
    assert list(fpga_resources.lut_memory(np.full(4, 10.0), depth)) == [5, 5, 10, 15]


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=3),
    room=st.integers(0, 4000),
)
def test_folding_is_the_fastest_that_fits(sizes, room):
    """Against every combination of PE and SIMD of up to three binary layers in look-up tables alone."""
    budget = Budget(lut=1000.0 + room, bram=0.0, uram=0.0, dsp=0.0, packed=0.0, layer=300.0, slack=1.1)
    layers = tuple(Shape(mh, mw, m, 0, None, BINARY, True, False) for mh, mw, m in sizes)
    each = []
    for layer in layers:
        pairs = list(combinations(fpga_folding.widths(layer.mh), fpga_folding.widths(layer.mw)))
        pe, simd = np.array(pairs).T
        taken = fpga_folding.use(layer, budget, pe, simd)[:, 0, 0]
        each.append(list(zip(fpga_folding.cycles(layer, pe, simd), taken, strict=True)))
    possible = [max(c for c, _ in pick) for pick in combinations(*each) if sum(t for _, t in pick) <= budget.lut]
    found = fpga_folding.fold(layers, budget, 1.0)
    if not possible:
        assert found is None
        return
    assert found is not None
    assert found.cycles.max() == min(possible)
    assert found.use[:, 0].sum() <= budget.lut


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("precision", ["int1", "int2", "int4", "int8", "int16"])
def test_design_never_exceeds_the_chip(networks, name, precision):
    device = board(name)
    part = {key: getattr(device.part, key) for key in ("lut", "bram", "uram", "dsp")}
    for work in (SFC, CNV, networks["ic"], networks["ad"], networks["mobilenet"], networks["resnet50"]):
        found = fpga.resources(device, work, precision)
        for key, amount in found.items():
            assert amount <= (part[key].value if part[key] else 0), (work.name, key)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("precision", ["int1", "int4", "int8", "int16"])
@pytest.mark.parametrize("batch", [1, 64])
def test_rate_stays_below_the_roofline_and_the_ledger_adds_up(networks, name, precision, batch):
    device = board(name)
    for work in (SFC, networks["ic"], networks["mobilenet"]):
        counts = machines.counts(device, work, precision, batch)
        for boundary in device.power:
            prices = machines.prices(device, nominal(device), boundary)
            spent = cost(counts, prices)
            assert 1 / float(spent.interval) * work.macs <= fpga.roof(device, precision)[0]
            by_hand = sum(float(counts.events[e]) * float(prices.energy[e]) for e in counts.events) / batch
            by_hand += device.power[boundary].active.value * float(spent.interval)
            assert float(spent.total) == pytest.approx(by_hand, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    enter=st.integers(1, 300), middle=st.integers(1, 300), grown=st.integers(0, 300), batch=st.sampled_from([1, 7]),
    more=st.integers(0, 9), precision=st.sampled_from(["int1", "int8", "int16"]),
)  # fmt: skip
def test_more_work_is_never_faster(enter, middle, grown, batch, more, precision):
    device = board("arty_a7_100t")

    def latency(enter: int, middle: int, batch: int) -> float:
        work = Workload("w", (dense("a", enter, middle), dense("b", middle, 10)))
        interval = fpga.pipeline(device, work, precision)
        assert interval is not None
        return interval.interval * batch

    assert latency(enter, middle + grown, batch + more) >= latency(enter, middle, batch)
    assert latency(enter + grown, middle, batch + more) >= latency(enter, middle, batch)


def test_reuse_factor_divides_the_multipliers():
    """A dense layer of 64 × 32 weights in 16 bits: 2048 products; a fold of RF = 2048 / parallel cycles."""
    work = Workload("w", (dense("a", 64, 32),))
    design = fpga.design(board("kcu115", target__interval=8.0), work, "int16", "reuse")
    assert design is not None
    assert design.cycles[0] == 8
    assert design.pe[0] * design.simd[0] == 256
    assert fpga.style(board("kcu115", target__interval=8.0), work, "int16") == "reuse"
    # 64 values of 16 bits stream in over 16 cycles; one cycle of multiplication and ceil(6 / 3) of adders drain.
    assert float(run(board("kcu115", target__interval=8.0), work, "int16").latency) == pytest.approx(19 / 200e6)


@pytest.mark.parametrize(
    ("name", "network", "precision", "style"),
    [("pynq_z2", "ic", "int1", "dataflow"), ("alveo_u250", "mobilenet", "int4", "dataflow"),
     ("arty_a7_100t", "ad", "int8", "reuse"), ("pynq_z2", "resnet50", "int8", "overlay"),
     ("zcu104", "resnet50", "int4", "overlay")],
)  # fmt: skip
def test_style_is_a_pipeline_where_it_fits(networks, name, network, precision, style):
    assert fpga.style(board(name), networks[network], precision) == style


def test_products_of_activations_need_an_overlay():
    work = Workload("w", (dense("a", 64, 64, rows=8), product("q", 8, 8, 16, groups=4), dense("b", 64, 10)))
    assert fpga.style(board("alveo_u250"), work, "int4") == "overlay"
    pipeline = board("alveo_u250").model_copy(update={"style": "dataflow"})
    with pytest.raises(DoesNotFit, match="pipelines that hold them"):
        machines.counts(pipeline, work, "int4", 1)


def test_a_pipeline_that_is_asked_for_and_does_not_fit_is_refused(networks):
    pipeline = board("pynq_z2").model_copy(update={"style": "dataflow"})
    with pytest.raises(DoesNotFit, match=r"pynq_z2: the dataflow pipeline of resnet50-v1.5 need .* look-up tables"):
        machines.counts(pipeline, networks["resnet50"], "int8", 1)


def test_overlay_cycles_by_hand():
    """16 lanes, 512 products per clock: 2 positions. 10 positions, 20 outputs, 3 × 3 windows of 20 channels:
    5 × 2 × 9 × 2; depthwise: 5 × 2 × 9."""
    layer = convolution("c", (20, 20), (3, 3), (1, 1), (7, 4), (5, 2))
    assert fpga.overlay_cycles(layer, 1, 16, 512.0) == 5 * 2 * 9 * 2
    assert fpga.overlay_cycles(layer, 2, 16, 512.0) == 10 * 2 * 9 * 2
    single = convolution("d", (20, 20), (3, 3), (1, 1), (7, 4), (5, 2), groups=20)
    assert fpga.overlay_cycles(single, 1, 16, 512.0) == 5 * 2 * 9
    assert fpga.overlay_cycles(elementwise("p", "pool", 40, 10), 1, 16, 512.0) == 0


def test_overlay_waits_for_memory_where_weights_are_read_once():
    """VGG's first dense layer in 8 bits on the PYNQ-Z2: 102.8 MB over 2.1 GB/s × 0.75."""
    layer = replace(dense("fc6", 25088, 4096), weight_count=25088 * 4096)
    spent = run(board("pynq_z2"), Workload("w", (layer,)), "int8")
    moved = 25088 * 4096 + 25088 + 4096
    assert float(spent.latency) == pytest.approx(moved / (2.1e9 * 0.75) + 5e-6 + 100e-6, rel=1e-4)


def test_folding_with_the_wrong_number_of_layers_is_refused():
    work = Workload("cnv", CNV.layers[:-1])
    with pytest.raises(BadDescription, match=r"folding\.cnv\.layers: 9 pairs of PE and SIMD for 8 layers"):
        fpga.design(board("pynq_z2"), work, "int1", "dataflow")


def test_folding_of_a_file_is_checked(tmp_path):
    text = locate("pynq_z2", machines.PACKAGE, "device").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    for old, new, message in (
        ("[[16, 3]", "[[0, 3]", "PE and SIMD must be 1 or more"),
        ('source = "mlperf"\nbasis = "measured"\nlayers', 'source = "nowhere"\nbasis = "measured"\nlayers', "nowhere"),
    ):
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(BadDescription, match=message):
            load(path)
