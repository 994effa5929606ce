"""The row-stationary model against a layer walked by hand and the published AlexNet measurements."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import eyeriss
from baselines.device import Asic, load, nominal
from baselines.roofline import roof
from baselines.workload import Workload, convolution, dense, elementwise
from neuro.cost import cost

EYERISS = load("eyeriss_v1")
assert isinstance(EYERISS, Asic)


def cut(e: int, p: int, q: int, r: int, t: int, images: int) -> eyeriss.Cut:
    return eyeriss.Cut(*(np.array([x]) for x in (e, p, q, r, t, images)))


def test_one_filter_on_one_channel_by_hand():
    """A 3 × 3 filter on 5 × 5 inputs, 3 × 3 elements, each making a row of 3 sums of 3 products."""
    layer = convolution("c", (1, 1), (3, 3), (1, 1), (5, 5), (3, 3))
    found = eyeriss.moves(EYERISS, layer, cut(e=3, p=1, q=1, r=1, t=1, images=1), width=2.0, batch=1)
    assert found.cycles == 3 * (3 + 1)
    assert found.read == 25 + 9
    assert found.written == 9
    # 9 elements take rows of 5 inputs; the sums pass 3 elements; 10 weights (with bias) go to 3 columns.
    assert found.network == 9 * 5 + 9 * 3 + 10 * 3
    assert found.weights == 10
    # Without zeros the run-length code saves nothing, and words are sent as they are.
    assert found.values == 25 + 9


def test_strips_of_output_rows_by_hand():
    """The same, one output row at a time: three strips read 3 × 5 inputs each and take the weights anew."""
    layer = convolution("c", (1, 1), (3, 3), (1, 1), (5, 5), (3, 3))
    found = eyeriss.moves(EYERISS, layer, cut(e=1, p=1, q=1, r=1, t=1, images=1), width=2.0, batch=1)
    assert found.cycles == 3 * 3 * (3 + 1)
    assert found.read == 3 * 15 + 9
    assert found.weights == 3 * 10
    # Per strip 3 elements take 5 inputs each and one column 10 weights; each of 9 sums passes 3 elements.
    assert found.network == 3 * 3 * 5 + 9 * 3 + 3 * 10
    assert found.values == pytest.approx(25 * 45 / 25 + 9)


def test_two_channels_four_filters_two_images_by_hand():
    layer = convolution("c", (2, 4), (3, 3), (1, 1), (5, 5), (3, 3))
    found = eyeriss.moves(EYERISS, layer, cut(e=3, p=2, q=1, r=1, t=1, images=1), width=2.0, batch=2)
    # Each element does 2 channels × 3 products and 2 sums, for 4 filters, 3 positions and 2 images.
    assert found.cycles == 2 * 3 * 4 * (2 * 3 + 2)
    # Two passes over the filters read 50 inputs; sums of 36 outputs go in and out once per channel.
    assert found.read == 2 * (2 * 50 + 2 * 36)
    assert found.written == 2 * 2 * 36
    # One image at a time, so the weights (72 and 4 biases) come twice.
    assert found.weights == 2 * 76


@pytest.mark.parametrize(
    ("index", "mapping", "megabytes"),
    # Published mappings (e, p, q, r, t) and megabytes at the global buffer for a batch of 4.
    [
        (0, (7, 16, 1, 1, 2), 18.5),
        (1, (27, 16, 2, 1, 1), 77.6),
        (2, (13, 16, 3, 2, 2), 50.2),
        (3, (13, 16, 3, 2, 2), 37.4),
        (4, (13, 16, 3, 2, 2), 24.9),
    ],
)
def test_buffer_traffic_of_the_published_mappings(networks, index, mapping, megabytes):
    layer = networks["alexnet"].layers[index]
    found = eyeriss.moves(EYERISS, layer, cut(*mapping, images=1), width=2.0, batch=4)
    assert float((found.read + found.written)[0]) * 2e-6 == pytest.approx(megabytes, rel=0.002)


def test_external_traffic_of_the_published_mappings(networks):
    """15.4 MB for four images (0.0029 accesses per multiply-accumulate). Predicted: +1 %."""
    mappings = [(7, 16, 1, 1, 2, 1), (27, 16, 2, 1, 1, 1), *[(13, 16, 3, 2, 2, 4)] * 3]
    moved = [
        eyeriss.moves(EYERISS, w, cut(*m), 2.0, 4) for w, m in zip(networks["alexnet"].layers, mappings, strict=True)
    ]
    assert sum(float((m.weights + m.values)[0]) for m in moved) * 2e-6 == pytest.approx(15.4, rel=0.1)


@pytest.mark.parametrize("index", range(5))
def test_chosen_mapping_is_no_slower_than_the_published_one(networks, index):
    published = [(7, 16, 1, 1, 2, 1), (27, 16, 2, 1, 1, 1), *[(13, 16, 3, 2, 2, 4)] * 3][index]
    layer = networks["alexnet"].layers[index]
    theirs, ours = eyeriss.moves(EYERISS, layer, cut(*published), 2.0, 4), eyeriss.best(EYERISS, layer, 2.0, 4)
    seconds = []
    for m in (theirs, ours):
        linked = (m.weights + m.values) * 2 / 480e6
        work = np.maximum(m.cycles / 200e6 + m.weights * 2 / 1.6e9, m.read * 2 / 1.6e9)
        exposed = EYERISS.external.exposed.value * linked
        seconds.append(exposed + np.maximum(work, linked - exposed))
    assert seconds[1] <= seconds[0]
    assert ours.cycles >= 4 * layer.macs / 168


def test_alexnet_time_and_energy(networks, priced):
    """34.7 frames/s at 278 mW without the external memory. Predicted: +1 % frames and -2 % energy."""
    spent = priced("eyeriss_v1", networks["alexnet"], "int16", 4)
    assert 1 / float(spent.interval) == pytest.approx(34.7, rel=0.05)
    chip = float(spent.total - spent.energy["external_word"])
    assert chip == pytest.approx(0.278 / 34.7, rel=0.05)
    # Published share of clock and control: 33 to 45 %.
    assert 0.33 < float(spent.energy["static"]) / chip < 0.45


@pytest.mark.parametrize(
    ("index", "milliseconds", "milliwatts"),
    [(0, 20.9, 332), (1, 41.9, 288), (2, 23.6, 266), (3, 18.4, 235), (4, 10.5, 236)],
)
def test_layers_of_alexnet(networks, priced, index, milliseconds, milliwatts):
    """Published time and power of each layer for a batch of 4; the last one is 15 % off."""
    spent = priced("eyeriss_v1", Workload("layer", (networks["alexnet"].layers[index],)), "int16", 4)
    allowed = 0.17 if index == 4 else 0.08
    assert float(spent.latency) == pytest.approx(milliseconds / 1e3, rel=allowed)
    chip = float(spent.total - spent.energy["external_word"]) / float(spent.interval)
    assert chip == pytest.approx(milliwatts / 1e3, rel=0.1)


def test_filters_enter_the_array_at_the_port():
    """Two hundred and fifty-six 1 × 1 filters on one pixel: the array waits for them, not for its arithmetic.

    4 words a cycle: 256 × 257 words take 16,448 cycles at a port of 1.6 GB/s, and a link as fast takes as long.
    """
    layer = convolution("c", (256, 256), (1, 1), (1, 1), (1, 1), (1, 1))
    counts = eyeriss.counts(EYERISS, Workload("w", (layer,)), "int16", 1)
    values = {**nominal(EYERISS), "external.bandwidth": 1e15}
    spent = cost(counts, eyeriss.prices(EYERISS, values, "chip"))
    cycles = float(eyeriss.best(EYERISS, layer, 2.0, 1).cycles)
    assert float(spent.latency) == pytest.approx((16448 + cycles) / 200e6, rel=1e-3)


def test_sparse_elements_skip_zero_weights_and_inputs():
    """Half the weights and a quarter of the inputs left: 1/8 of the cycles over a balance of 0.8."""
    sparse = load("eyeriss_v2")
    assert isinstance(sparse, Asic)
    layer = convolution("c", (64, 64), (3, 3), (1, 1), (16, 16), (14, 14))
    mapping = cut(e=7, p=2, q=2, r=1, t=2, images=1)
    full = eyeriss.moves(sparse, layer, mapping, 1.0, 1)
    rare = eyeriss.moves(sparse, replace(layer, density=0.5, zeros=0.75), mapping, 1.0, 1)
    assert float(rare.cycles[0] / full.cycles[0]) == pytest.approx(0.5 * 0.25 / 0.8)
    events = eyeriss.counts(sparse, Workload("w", (replace(layer, density=0.5, zeros=0.75),)), "int8", 1).events
    assert float(events["mac_int8"]) == layer.macs / 8
    assert float(events["local_word"]) == layer.macs / 2
    # Nothing is gained by a few zeros that the imbalance eats up; two lanes halve the passes over filters.
    assert eyeriss.moves(sparse, replace(layer, zeros=0.1), mapping, 1.0, 1).cycles == full.cycles
    one = eyeriss.moves(EYERISS, layer, mapping, 1.0, 1)
    assert one.cycles == 2 * full.cycles


def test_roof_is_the_published_peak():
    assert roof(EYERISS, "int16") == (pytest.approx(33.6e9), pytest.approx(480e6))
    sparse = load("eyeriss_v2")
    assert isinstance(sparse, Asic)
    assert roof(sparse, "int8")[0] == pytest.approx(76.8e9)


def test_zeros_spare_products_and_their_accesses_but_no_time():
    def spent(zeros: float):
        layer = convolution("c", (64, 64), (3, 3), (1, 1), (16, 16), (14, 14))
        work = Workload("w", (replace(layer, zeros=zeros),))
        return eyeriss.counts(EYERISS, work, "int16", 1)

    dense_counts, half = spent(0.0), spent(0.5)
    macs = 14 * 14 * 64 * 64 * 9
    assert float(dense_counts.events["mac_int16"]) == macs
    assert float(dense_counts.events["local_word"]) == 4 * macs
    assert float(half.events["mac_int16"]) == macs / 2
    assert float(half.events["local_word"]) == macs + 3 * macs / 2
    assert float(half.latency.counts[1, 0, 0]) == float(dense_counts.latency.counts[1, 0, 0])
    # Half of 64 × 256 inputs at 4/3 words each; never more than uncompressed.
    saved = float(dense_counts.events["external_word"] - half.events["external_word"])
    assert saved == pytest.approx(64 * 256 * (1 - 0.5 * 1.333), rel=1e-3)


def test_a_slow_buffer_port_bounds_a_layer():
    layer = convolution("c", (8, 8), (3, 3), (1, 1), (10, 10), (8, 8))
    work = Workload("w", (layer,))
    counts = eyeriss.counts(EYERISS, work, "int16", 1)
    prices = eyeriss.prices(EYERISS, {**nominal(EYERISS), "buffer.port": 1e6}, "chip")
    moved = eyeriss.best(EYERISS, layer, 2.0, 1)
    linked = 2 * float(moved.weights + moved.values) / 480e6
    expected = 2 * float(moved.read) / 1e6 + EYERISS.external.exposed.value * linked
    assert float(cost(counts, prices).latency) == pytest.approx(expected, rel=1e-5)


def test_dense_layers_wait_for_their_weights():
    """4096 × 4096 weights of 2 bytes over 480 MB/s take 70 ms, whatever share of that is exposed."""
    counts = eyeriss.counts(EYERISS, Workload("fc", (dense("fc", 4096, 4096),)), "int16", 1)
    latency = float(cost(counts, eyeriss.prices(EYERISS, nominal(EYERISS), "chip")).latency)
    assert latency == pytest.approx((4096 * 4097 + 2 * 4096) * 2 / 480e6, rel=0.001)


@pytest.mark.parametrize(("rows", "steps"), [(50, 1), (1, 20), (7, 3)])
def test_products_with_rows_and_steps_stay_below_the_roofline(rows, steps):
    found = eyeriss.best(EYERISS, dense("fc", 96, 80, rows=rows, steps=steps), 2.0, 4)
    assert found.cycles >= 4 * steps * rows * 96 * 80 / 168
    assert found.weights >= steps * 96 * 80
    assert found.written >= 4 * steps * rows * 80


def test_pools_move_values_only():
    counts = eyeriss.counts(EYERISS, Workload("p", (elementwise("p", "pool", 300, 100),)), "int16", 2)
    assert {k: float(v) for k, v in counts.events.items() if v} == {"external_word": 800.0}


@given(
    kernel=st.sampled_from([(1,), (5,), (1, 1), (3, 3), (5, 5), (11, 11), (13, 2), (2, 17)]),
    enter=st.integers(1, 70), leave=st.integers(1, 70), out=st.integers(1, 30), stride=st.integers(1, 4),
)  # fmt: skip
def test_any_convolution_stays_below_the_roofline(kernel, enter, leave, out, stride):
    outs = (out,) * len(kernel)
    size = tuple((out - 1) * stride + k for k in kernel)
    layer = convolution("c", (enter, leave), kernel, (stride,) * len(kernel), size, outs)
    found = eyeriss.best(EYERISS, layer, 2.0, 4)
    assert found.cycles >= 4 * layer.macs / 168
    assert found.weights >= layer.weight_count
    assert found.read >= 4 * layer.inputs or stride > 1 or len(kernel) == 1 or kernel == (1, 1)
    assert found.written >= 4 * layer.outputs


@given(
    enter=st.integers(1, 200), leave=st.integers(1, 200), out=st.integers(1, 30),
    key=st.sampled_from(["enter", "leave", "batch"]), grown=st.integers(1, 60),
)  # fmt: skip
def test_more_work_is_never_faster_nor_noticeably_cheaper(enter, leave, out, key, grown):
    """The mapping is chosen for time first, so that one more channel may allow one that is a percent cheaper."""
    prices = eyeriss.prices(EYERISS, nominal(EYERISS), "chip")

    def run(enter: int, leave: int, batch: int) -> tuple[float, float]:
        layer = convolution("c", (enter, leave), (3, 3), (1, 1), (out + 2, out + 2), (out, out))
        spent = cost(eyeriss.counts(EYERISS, Workload("w", (layer,)), "int16", batch), prices)
        return float(spent.latency), float(spent.total) * batch

    sizes = {"enter": enter, "leave": leave, "batch": 1}
    more = {**sizes, key: 4 if key == "batch" else sizes[key] + grown}
    (less_time, less_energy), (more_time, more_energy) = run(**sizes), run(**more)
    assert more_time >= less_time * (1 - 1e-6)
    assert more_energy >= less_energy * 0.97
