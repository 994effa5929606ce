"""Spatial arrays against layers tiled by hand, brute force over all cuts, and published measurements."""

import math
from dataclasses import replace
from itertools import product as pairs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import device as machines
from baselines import npu
from baselines.device import adjusted, load, nominal
from baselines.npu import Npu
from baselines.roofline import roof
from baselines.workload import LayerWork, Workload, convolution, dense, elementwise, product
from neuro.cost import cost

NAMES = ("nvdla_full", "nvdla_small", "simba_chiplet", "movidius_ncs", "movidius_ncs2", "max78000", "gap9",
         "ethos_u55_256", "hailo8", "northpole")  # fmt: skip


def array(name: str) -> Npu:
    device = load(name)
    assert isinstance(device, Npu)
    return device


def cycles(name: str, layer: LayerWork, batch: int = 1) -> float:
    device = array(name)
    (precision, *_) = device.precision
    return float(npu.cycles(device, npu.sizes(Workload("w", (layer,)), precision, batch))[0])


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        # 64 inputs x 32 outputs a cycle: 2 x 9 x 3 tiles of 100 positions; 65 inputs take a second pass.
        ("nvdla_full", convolution("c", (128, 96), (3, 3), (1, 1), (12, 12), (10, 10)), 2 * 9 * 3 * 100),
        ("nvdla_full", convolution("c", (65, 96), (3, 3), (1, 1), (12, 12), (10, 10)), 2 * 9 * 3 * 100),
        # Three channels leave room for the seven taps of a row of the kernel.
        ("nvdla_full", convolution("c", (3, 64), (7, 7), (2, 2), (29, 29), (12, 12)), 7 * 2 * 144),
        # 32 channels along the diagonal of a tile: 1 in 64 multipliers at work.
        ("nvdla_full", convolution("c", (64, 64), (3, 3), (1, 1), (12, 12), (10, 10), groups=64), 2 * 9 * 100),
        # 64 channels with all nine taps of a window; one output channel at a time.
        ("max78000", convolution("c", (64, 40), (3, 3), (1, 1), (12, 12), (10, 10)), 40 * 100),
        ("max78000", convolution("c", (65, 40), (1, 1), (1, 1), (10, 10), (10, 10)), 2 * 40 * 100),
        # 16 arrays of 8 x 8 share 4 x 9 tiles of one position.
        ("simba_chiplet", dense("fc", 32, 72), math.ceil(4 * 9 / 16)),
        # 9 positions of 16 channels; 100 positions are 12 tiles.
        ("gap9", convolution("c", (16, 8), (1, 1), (1, 1), (10, 10), (10, 10)), 8 * 12),
        ("ethos_u55_256", convolution("c", (64, 64), (3, 3), (1, 1), (12, 12), (10, 10), groups=64), 8 * 9 * 25),
    ],
)
def test_cycles_by_hand(name, layer, expected):
    assert cycles(name, layer) == expected


def test_steps_follow_one_another():
    once = cycles("nvdla_full", dense("fc", 200, 100, rows=3))
    assert cycles("nvdla_full", dense("fc", 200, 100, rows=3, steps=7)) == 7 * once


def test_buffer_traffic_by_hand():
    """Windows are read once per 32 outputs, weights once per 32 positions held, or per position group."""
    layer = convolution("c", (64, 96), (3, 3), (1, 1), (12, 12), (10, 10))
    work = Workload("w", (layer,))
    windows, weights = 100 * 64 * 9, 64 * 96 * 9 + 96
    held = npu.buffered(array("nvdla_full"), npu.sizes(work, "int8", 1), 1.0)
    assert float(held[0]) == 3 * windows + 4 * weights + 9600
    output = npu.buffered(array("ethos_u55_256"), npu.sizes(work, "int8", 1), 1.0)
    assert float(output[0]) == 12 * windows + 25 * weights + 9600


def brute(layer: LayerWork, room: float, batch: int) -> float:
    """Least bytes between memory and buffer over all cuts, one at a time."""
    weights, enter, leave = float(layer.weight_count), float(batch * layer.inputs), float(batch * layer.outputs)
    least = np.inf
    for down, across in pairs([2**i for i in range(14)], repeat=2):
        halo = max(layer.kernel[0] - layer.stride[0], 0)
        shared = 1 + max(across - batch, 0) * halo / (batch * layer.input_map[0])
        read = enter * min(shared, 1 + halo)
        if weights / down + read / across + leave / (down * across) > room:
            continue
        if down > max(layer.n * layer.groups, 1) or across > max(layer.m * batch, 1):
            continue
        least = min(least, weights + (down if across > 1 else 1) * read + leave)
        least = min(least, (across if down > 1 else 1) * weights + read + leave)
    return least


@given(
    enter=st.integers(1, 300), leave=st.integers(1, 300), out=st.integers(1, 30), kernel=st.sampled_from([1, 3, 5]),
    batch=st.integers(1, 9), room=st.sampled_from([4e3, 3e4, 5e5]),
)  # fmt: skip
def test_best_cut_is_never_worse_than_any_other(enter, leave, out, kernel, batch, room):
    size = out + kernel - 1
    layer = convolution("c", (enter, leave), (kernel, kernel), (1, 1), (size, size), (out, out))
    device = adjusted(array("nvdla_full"), {"buffer.capacity": room})
    assert isinstance(device, Npu)
    s = npu.sizes(Workload("w", (layer,)), "int8", batch)
    weights, values = npu.passes(device, s, batch)
    least = brute(layer, room, batch)
    if np.isfinite(least):
        assert float((weights * s.weights + values)[0]) == pytest.approx(least, rel=1e-9)
    assert float(weights[0]) >= 1
    assert float(values[0]) >= float((s.inputs + s.outputs)[0])


def test_what_fits_the_buffer_passes_once():
    device = array("nvdla_full")
    s = npu.sizes(Workload("w", (convolution("c", (64, 64), (3, 3), (1, 1), (12, 12), (10, 10)),)), "int8", 1)
    weights, values = npu.passes(device, s, 1)
    assert (float(weights[0]), float(values[0])) == (1, 64 * 144 + 6400)


def test_rows_of_a_table_stream_through_once():
    table = replace(elementwise("words", "embedding", 10**6, 10**6), weight_count=10**6)
    s = npu.sizes(Workload("w", (table,)), "int8", 1)
    assert [float(x[0]) for x in npu.passes(array("nvdla_full"), s, 1)] == [1, 2e6]


def test_recurrent_weights_that_do_not_stay_pass_in_every_step():
    device = array("nvdla_full")
    s = npu.sizes(Workload("w", (dense("a", 100, 100, steps=9), dense("b", 1000, 1000, steps=9))), "int8", 1)
    assert npu.passes(device, s, 1)[0].tolist() == [1, 9]


def test_scratch_keeps_values_and_fetches_weights_per_group_of_samples():
    """Ethos holds 2 MB: two samples of 800 kB at a time, so three samples take the weights twice."""
    device = array("ethos_u55_256")
    layer = convolution("c", (4, 4), (1, 1), (1, 1), (1000, 100), (1000, 100))
    s = npu.sizes(Workload("w", (layer,)), "int8", 3)
    weights, values = npu.passes(device, s, 3)
    assert (float(weights[0]), float(values[0])) == (2, 0)


def test_only_the_ends_of_a_network_leave_a_chip_with_scratch():
    layers = (dense("a", 300, 200), dense("b", 200, 100))
    found = machines.counts(load("ethos_u55_256"), Workload("w", layers), "int8", 1)
    assert float(found.events["memory_byte"]) == 300 * 200 + 200 + 200 * 100 + 100 + 300 + 100


def test_narrow_weights_hold_more_on_chip():
    """A MAX78000 takes 442,368 weights of 8 bits, and four times as many of 2."""
    layer = dense("fc", 1000, 1000)
    assert "weight memory" in str(machines.fits(load("max78000"), Workload("w", (layer,)), "int8", 1))
    assert machines.fits(load("max78000"), Workload("w", (replace(layer, weight_bits=2),)), "int8", 1) is None


def test_pipeline_has_several_samples_in_flight(networks):
    """One sample takes `depth` intervals; every further one adds an interval."""
    device = machines.adjusted(array("hailo8"), {"overhead.inference": 1e-12})
    for batch, intervals in ((1, 4), (4, 4 + 3)):
        counts = machines.counts(device, networks["resnet50"], "int8", batch)
        spent = cost(counts, machines.prices(device, nominal(device), "chip"))
        assert float(spent.latency / spent.interval) == pytest.approx(intervals, rel=0.02)


@pytest.mark.parametrize(("name", "rate"), [("movidius_ncs", 300), ("movidius_ncs2", 464.6)])
def test_sticks_wait_for_usb_in_keyword_spotting(priced, name, rate):
    work = Workload("kws", (dense("a", 390, 256), dense("b", 256, 256), dense("c", 256, 29)))
    assert 1 / float(priced(name, work, "fp16", boundary="board").interval) == pytest.approx(rate, rel=0.03)


def test_best_published_case_of_a_simba_chiplet():
    """0.11 pJ per operation at 0.32 TOPS where the array is full."""
    device = array("simba_chiplet")
    layer = convolution("c", (128, 128), (3, 3), (1, 1), (34, 34), (32, 32))
    values = {**nominal(device), "memory.energy": 1e-18, "memory.bandwidth": 1e15}
    spent = cost(machines.counts(device, Workload("w", (layer,)), "int8", 1), machines.prices(device, values, "chip"))
    assert float(spent.total) / (2 * layer.macs) == pytest.approx(0.11e-12, rel=0.25)
    assert 2 * roof(device, "int8")[0] == pytest.approx(0.32e12, rel=0.01)


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    # Two operations are one multiply-accumulate: 4.1, 0.128, 26 and 205 TOPS; 1 TOPS in fp16.
    [("nvdla_full", "int8", 2.05e12), ("nvdla_full", "fp16", 1.02e12), ("nvdla_small", "int8", 64e9),
     ("hailo8", "int8", 13e12), ("northpole", "int8", 105e12), ("northpole", "int2", 419e12),
     ("movidius_ncs2", "fp16", 0.5e12), ("max78000", "int8", 28.8e9), ("ethos_u55_256", "int8", 102.4e9)],
)  # fmt: skip
def test_peaks(name, precision, peak):
    assert roof(array(name), precision)[0] == pytest.approx(peak, rel=0.08)


def test_roof_of_what_has_no_memory_is_arithmetic_alone():
    assert roof(array("hailo8"), "int8")[1] == math.inf


KINDS = ("conv", "depthwise", "dense", "product", "pool")


def made(kind: str, a: int, b: int, c: int, d: int) -> LayerWork:
    """A layer of a kind from four sizes."""
    match kind:
        case "conv":
            return convolution("c", (a, b), (d, d), (1, 1), (c + d - 1, c + d - 1), (c, c))
        case "depthwise":
            return convolution("d", (a + 1, a + 1), (3, 3), (1, 1), (c + 2, c + 2), (c, c), a + 1)
        case "dense":
            return dense("f", a, b, c, d)
        case "product":
            return product("m", a, b, c, d)
    return elementwise("p", "pool", a * b, c)


def run(name: str, work: Workload, batch: int):
    device = array(name)
    (precision, *_) = device.precision
    # Counted past the limits of batch and memory, which are tested elsewhere.
    counts = npu.counts(device, work, precision, batch)
    return device, precision, cost(counts, npu.prices(device, nominal(device), "chip"))


@given(
    name=st.sampled_from(NAMES), batch=st.integers(1, 5),
    layers=st.lists(
        st.tuples(st.sampled_from(KINDS), *[st.integers(1, 90)] * 2, st.integers(1, 20), st.integers(1, 7)),
        min_size=1, max_size=4,
    ),
)  # fmt: skip
def test_nothing_runs_above_the_roofline_and_the_ledger_adds_up(name, batch, layers):
    layers = [made(*sizes) for sizes in layers]
    work = Workload("w", tuple(layers))
    device, precision, spent = run(name, work, batch)
    peak, bandwidth = roof(device, precision)
    assert float(spent.interval) >= work.macs / peak * (1 - 1e-6)
    assert float(spent.latency) >= batch * float(spent.interval) * (1 - 1e-5)
    if device.memory and not device.weights:
        weights = sum(layer.weight_count for layer in layers)
        assert batch * float(spent.interval) >= weights / bandwidth * (1 - 1e-6)
    assert float(spent.total) == pytest.approx(sum(float(e) for e in spent.energy.values()), rel=1e-5)


@given(
    name=st.sampled_from(NAMES), enter=st.integers(1, 120), leave=st.integers(1, 120), out=st.integers(1, 20),
    batch=st.integers(1, 4), key=st.sampled_from(["enter", "leave", "out", "batch"]), grown=st.integers(1, 60),
)  # fmt: skip
def test_more_work_is_never_faster_nor_cheaper(name, enter, leave, out, batch, key, grown):
    def spent(enter: int, leave: int, out: int, batch: int) -> tuple[float, float]:
        layer = convolution("c", (enter, leave), (3, 3), (1, 1), (out + 2, out + 2), (out, out))
        found = run(name, Workload("w", (layer,)), batch)[2]
        return float(found.interval) * batch, float(found.total) * batch

    sizes = {"enter": enter, "leave": leave, "out": out, "batch": batch}
    less, more = spent(**sizes), spent(**{**sizes, key: sizes[key] + grown})
    assert more[0] >= less[0] * (1 - 1e-5)
    assert more[1] >= less[1] * (1 - 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_description_loads_and_idles_below_its_active_power(name):
    device = array(name)
    assert device.name == name
    for boundary, power in device.power.items():
        assert power.idle.value < power.active.value, boundary
        assert power.idle.high <= power.active.high, boundary
