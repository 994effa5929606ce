"""The systolic model by hand, against timed products and applications on TPUs, and five networks on the Edge TPU."""

from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import device as machines
from baselines import from_shapes, systolic
from baselines.device import Systolic, load, nominal
from baselines.workload import LayerWork, Workload, dense, elementwise
from baselines.workload import product as activations
from neuro.cost import cost, duration

TPUS = ("tpu_v1", "tpu_v2", "tpu_v3", "tpu_v4i", "tpu_v4", "tpu_v5e", "tpu_v5p", "tpu_v6e")
NAMES = (*TPUS, "edge_tpu", "edge_tpu_devboard")


def machine(name: str) -> Systolic:
    device = load(name)
    assert isinstance(device, Systolic)
    return device


V1, V4, EDGE = machine("tpu_v1"), machine("tpu_v4"), machine("edge_tpu")


def product(m: int, n: int, k: int, groups: int = 1, operator: str = "conv") -> LayerWork:
    macs = groups * m * n * k
    return LayerWork("p", operator, m, n, k, groups, macs, groups * n * k, groups * m * k, groups * m * n)  # type: ignore[arg-type]


def time(device: Systolic, work: Workload, precision: str = "int8", batch: int = 1, **values: float) -> float:
    """Seconds of a batch, with other values for some constants (dots written as double underscores)."""
    drawn = nominal(device) | {k.replace("__", "."): v for k, v in values.items()}
    counts = machines.counts(device, work, precision, batch)
    return float(duration(counts.latency, machines.prices(device, drawn, "chip").time))


def moved(device: Systolic, work: Workload, precision: str = "int8", batch: int = 1) -> float:
    return float(machines.counts(device, work, precision, batch).events["memory_byte"])


@pytest.mark.parametrize(
    ("device", "layer", "batch", "cycles"),
    [
        (V4, product(256, 256, 256), 1, 2 * 2 * 256 / 8 + 382),
        # A 600-wide matrix occupies 5 × 128 = 640; 9 rows stream as 16, but a tile takes 128 cycles to shift in.
        (V4, product(9, 600, 600), 1, 5 * 5 * 128 / 8 + 382),
        (V4, product(9, 600, 600), 100, 5 * 5 * 904 / 8 + 382),
        # On a 256 × 256 array the same matrix occupies 768: 9 tiles.
        (V1, product(1, 600, 600), 300, 9 * 304 + 766),
        # 5000 rows of results fill the accumulators twice, which asks for 2 × 256 cycles of shifting at least.
        (V1, product(5000, 256, 256), 1, 5000 + 766),
        # A recurrent layer of 7 steps fills and drains 7 times.
        (V1, dense("rnn", 256, 256, steps=7), 400, 7 * (400 + 766)),
        # Products of activations: every sample has its own matrix, heads do not share a tile.
        (V4, activations("qk", 384, 384, 64, groups=16), 2, 32 * 3 * 384 / 8 + 382),
        # 16 depthwise 3 × 3 filters on a 64 × 64 array: floor(64 / 9) = 7 to a tile, so 3 tiles of 104 rows.
        (EDGE, product(100, 1, 9, 16, "depthwise"), 1, 3 * 104 + 190),
        # Where the vector unit does them, the arrays have no part.
        (V4, product(100, 1, 9, 16, "depthwise"), 1, 0),
        # 4 groups of 16 × 16 fill the diagonal of one tile.
        (EDGE, product(64, 16, 16, groups=4), 1, 64 + 190),
        # Of 4 groups with 32 outputs only two fit side by side.
        (EDGE, product(64, 32, 8, groups=4), 1, 2 * 64 + 190),
        (EDGE, elementwise("pool", "pool", 100, 25), 1, 0),
    ],
)
def test_cycles_by_hand(device, layer, batch, cycles):
    assert systolic.cycles(device, (layer,), batch).tolist() == [cycles]


def test_without_double_buffers_every_tile_waits_for_its_weights_and_its_last_result():
    """3 × 2 tiles of 128: 300 rows, 128 to load, 254 on the way, on one of eight arrays each."""
    plain = V4.model_copy(update={"array": V4.array.model_copy(update={"double_buffered": False})})
    assert systolic.cycles(plain, (product(300, 256, 384),), 1).tolist() == [6 * (300 + 128 + 254) / 8]


def test_one_layer_on_the_tpu_by_hand():
    """256 → 512, 64 samples in bf16: tiles 2 × 4 of 128 rows on 8 arrays; all values enter and leave the chip."""
    priced = cost(
        systolic.counts(V4, Workload("one", (dense("fc", 256, 512),)), "bf16", 64),
        systolic.prices(V4, nominal(V4), "chip"),
    )
    bytes_moved = 2 * (256 * 512 + 512 + 64 * (256 + 512))
    latency = 50e-6 + 0.57e-6 + (8 * 128 / 8 + 382) / (1.05e9 * 0.78) + bytes_moved / (1200e9 * 0.62)
    assert float(priced.latency) == pytest.approx(latency, rel=1e-5)
    dynamic = 64 * 256 * 512 * 0.46e-12 + bytes_moved * 31e-12
    assert float(priced.total) == pytest.approx((dynamic + 90 * latency) / 64, rel=1e-5)


def test_the_vector_unit_does_a_softmax_by_hand():
    """10 instructions for each of 2^20 values over 2 × 1024 lanes at 1.05 GHz."""
    work = Workload("s", (elementwise("softmax", "softmax", 2**20, 2**20),))
    taken = time(V4, work, "bf16", vector__operations__softmax=10.0)
    without = time(V4, work, "bf16", vector__operations__softmax=1e-9)
    assert taken - without == pytest.approx(10 * 2**20 / 2048 / 1.05e9, rel=1e-3)


def test_sixteen_bit_activations_halve_the_rate_of_tpu_v1_and_their_weights_stay_eight_bits():
    """2000 rows keep the array busy: 64 tiles of 2000 cycles, twice; non-matrix work takes 18 % of the time."""
    work = Workload("one", (dense("fc", 2048, 2048),))
    difference = time(V1, work, "int16", 2000) - time(V1, work, "int8", 2000)
    assert difference == pytest.approx((64 * 2000 + 766) / 0.7e9 / 0.82, rel=1e-4)
    assert moved(V1, work, "int16", 2000) == moved(V1, work, "int8", 2000) == 64 * 65536


def test_small_batches_on_tpu_v1_wait_for_weights():
    """A tile of 64 KiB takes 1349 cycles from the memory: a batch of 64 takes as long as one of 1344, not of 2048."""
    work = Workload("mlp", tuple(dense(f"fc{i}", 2048, 2048) for i in range(5)))
    load_all = 5 * 64 * 65536 / 34e9 / 0.82
    for batch in (64, 1344):
        assert time(V1, work, batch=batch) == pytest.approx(load_all, rel=0.015)
    assert time(V1, work, batch=2048) == pytest.approx(5 * 64 * 2048 / 0.7e9 / 0.82, rel=0.015)


def test_padding_of_a_600_wide_matrix_is_loaded_too():
    """9 tiles of 256 × 256 for 600 × 600: as many bytes as 768 × 768; each step of a recurrence loads them again."""
    assert moved(V1, Workload("one", (dense("fc", 600, 600),))) == 768 * 768
    assert moved(V1, Workload("rnn", (dense("fc", 600, 600, steps=5),))) == 5 * 768 * 768


def test_tpu_v1_refuses_a_batch_that_its_buffer_cannot_hold():
    """24 MiB hold 6291 samples of 2 × 2000 values."""
    work = Workload("one", (dense("fc", 2000, 2000),))
    assert machines.fits(V1, work, "int8", 6291) is None
    assert "values of a layer of one need 25,168,000 bytes" in (machines.fits(V1, work, "int8", 6292) or "")


def test_a_recurrent_layer_keeps_its_weights_on_chip_where_they_fit():
    """4 MiB stay in the 160 MiB of a TPU v4 for all 9 steps; 256 MiB come again in each."""
    small, large = dense("s", 2**11, 2**11, steps=9), dense("l", 2**14, 2**14, steps=9)
    for layer, times in ((small, 1), (large, 9)):
        values = layer.inputs + layer.outputs
        assert moved(V4, Workload("rnn", (layer,))) == pytest.approx(times * layer.weight_count + values, rel=1e-6)


def test_values_between_layers_stay_in_the_scratch_memory_while_they_fit():
    """Two layers of 1024 values: weights, inputs and outputs move; at a batch of 65536 the values between do too."""
    work = Workload("two", (dense("a", 1024, 1024), dense("b", 1024, 1024)))
    weights = 2 * (1024 * 1024 + 1024)
    for batch, values in ((1024, 2 * 1024), (65536, 4 * 1024), (131072, 4 * 1024)):
        kept = 2 * batch * 2048 <= 160 * 2**20
        assert kept == (values == 2 * 1024)
        assert moved(V4, work, "bf16", batch) == pytest.approx(2 * (weights + batch * values), rel=1e-6)


def test_edge_tpu_keeps_the_weights_that_fit_beside_the_values():
    """6.8 MB: 6.006 MB and 7000 values stay; of 7.007 MB the rest comes over the link with the values."""
    small, large = Workload("s", (dense("a", 1000, 6000),)), Workload("l", (dense("a", 1000, 7000),))
    assert moved(EDGE, small) == 7000
    assert moved(EDGE, large) == pytest.approx(8000 + 7_007_000 - (6_800_000 - 8000), rel=1e-6)


def test_edge_tpu_spills_values_that_do_not_fit():
    """4 million values in and 4 million out exceed 6.8 MB: both cross the link, for each of two layers."""
    layer = replace(product(1000, 4000, 4000), inputs=4_000_000, outputs=4_000_000, weight_count=0)
    assert moved(EDGE, Workload("two", (layer, layer))) == 16_000_000


def test_link_and_array_of_the_edge_tpu_work_at_the_same_time():
    """Of 20 MB a part stays; the rest takes 28 ms over the link: 1000 rows (13 ms) are free, 3000 (40 ms) are not."""
    streamed = (20e6 - 6.8e6 + 110e3) / 475e6

    def taken(rows: int) -> float:
        layer = replace(product(rows, 2000, 10000), inputs=100_000, outputs=10_000)
        return time(EDGE, Workload("one", (layer,))) - 0.742e-3 - 110e3 / 475e6

    assert taken(1) == taken(1000) == pytest.approx(streamed, rel=1e-3)
    assert taken(3000) == pytest.approx((157 * 32 * 3000 + 190) / (480e6 * 0.78), rel=1e-3)


GEMMS = [
    # m, n, k and microseconds: every row of the timed products whose number is a multiple of 86, so none is chosen.
    # Predicted: +7, +3, +5, +13, +4, +5, -13, -24, -9, +5 and +12 %.
    (128, 80, 128, 1.2187), (48, 48, 48, 1.1534), (80, 128, 80, 1.2408), (128, 256, 640, 2.3736),
    (256, 640, 384, 4.0790), (512, 1024, 128, 5.1211), (640, 256, 896, 8.4345), (768, 640, 640, 14.4142),
    (1536, 3584, 1536, 162.6971), (2560, 2560, 2560, 245.5173), (3584, 1536, 3584, 273.9622),
]  # fmt: skip


def test_products_timed_on_a_tpu_v4():
    """4-byte operands, without the call from the host."""
    errors = []
    for m, n, k, measured in GEMMS:
        work = Workload("gemm", (dense("gemm", k, n, rows=m),))
        errors.append(abs(time(V4, work, "fp32", overhead__inference=1e-12) / (measured * 1e-6) - 1))
    assert max(errors) < 0.25
    assert median(errors) < 0.1


@pytest.mark.parametrize(
    ("name", "precision", "batch", "tops"),
    # Predicted: -14 and -12 %. Layer widths are not published; where they are multiples of 256 it is -9 and -4 %.
    [("tpu_mlp0", "int8", 200, 12.3), ("tpu_lstm0", "int16", 64, 3.7)],
)
def test_applications_on_tpu_v1(name, precision, batch, tops):
    work = from_shapes.load(name)
    assert 2 * work.macs * batch / time(V1, work, precision, batch) / 1e12 == pytest.approx(tops, rel=0.15)


def test_shares_of_cycles_on_tpu_v1_are_those_of_its_counters():
    """MLP0 12.7 %, CNN0 78.2 % array active: tiles × rows over all cycles. CNN0 is also said to reach 86 TOPS, 93 %
    of the peak, which contradicts its counters."""
    for name, batch, active in (("tpu_mlp0", 200, 0.127), ("tpu_cnn0", 8, 0.782)):
        work = from_shapes.load(name)
        tiles, stream, _ = systolic.tiled(V1, work.layers, batch)
        cycles = time(V1, work, batch=batch) * V1.array.clock.value
        assert (tiles * stream).sum() / cycles == pytest.approx(active, rel=0.06)


def test_resnet50_on_tpu_v3(networks):
    """MLPerf Inference v0.5: 32716/s on four chips; nothing was fitted on it. Predicted: -9 % at its best batch."""
    device = machine("tpu_v3")
    batch = machines.best_batch(device, networks["resnet50"], "bf16", "chip")
    assert batch / time(device, networks["resnet50"], "bf16", batch) == pytest.approx(8179, rel=0.15)


@pytest.mark.parametrize(
    ("name", "usb", "board"),
    # Milliseconds of Coral's benchmarks.
    [("mobilenet_v1", 2.4, 2.4), ("inception_v1", 3.4, 4.1), ("resnet50_299", 49.0, 56.0), ("squeezenet", 2.1, 2.0),
     ("vgg16", 296.0, 343.0)],
)  # fmt: skip
def test_networks_on_the_edge_tpu(name, usb, board):
    work = from_shapes.load(name)
    assert time(EDGE, work) == pytest.approx(usb * 1e-3, rel=0.1)
    assert time(machine("edge_tpu_devboard"), work) == pytest.approx(board * 1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    # TFLOPS or TOPS of the data sheets.
    [("tpu_v1", "int8", 92), ("tpu_v2", "bf16", 46), ("tpu_v3", "bf16", 123), ("tpu_v4i", "bf16", 138),
     ("tpu_v4", "int8", 275), ("tpu_v5e", "bf16", 197), ("tpu_v5e", "int8", 393), ("tpu_v5p", "bf16", 459),
     ("tpu_v6e", "bf16", 918), ("tpu_v6e", "int8", 1836), ("edge_tpu", "int8", 4)],
)  # fmt: skip
def test_peaks_are_the_published_ones(name, precision, peak):
    """One product that fills the arrays and moves next to nothing approaches the peak with nothing lost."""
    device = machine(name)
    values = nominal(device) | {"array.efficiency": 1.0, "overhead.non_matrix": 0.0}
    layer = product(2**20, 4096, 4096)
    cycles = systolic.cycles(device, (layer,), 1)
    seconds = float(cycles[0]) * float(machines.prices(device, values, "chip").time[f"cycle_{precision}"])
    assert 2 * layer.macs / seconds / 1e12 == pytest.approx(peak, rel=0.03)


@pytest.mark.parametrize(
    ("name", "precision", "watts"),
    # The most that was measured: TPU v3 and v4; 4 TOPS at 2 TOPS per watt; TPU v1 a little above its busy 40 W.
    [("tpu_v3", "bf16", 262), ("tpu_v4", "bf16", 192), ("edge_tpu", "int8", 2.0), ("tpu_v1", "int8", 46)],
)
def test_full_use_draws_the_published_power(name, precision, watts):
    device = machine(name)
    v, array = nominal(device), device.array
    macs = array.rows.value * array.columns.value * array.count.value * array.clock.value
    full = v["power.chip.active"] + macs * v[f"precision.{precision}.mac"]
    full += v["memory.bandwidth"] * v["memory.energy"] if name != "edge_tpu" else 0.0
    assert full == pytest.approx(watts, rel=0.07)


def test_busy_tpu_v1_draws_what_was_measured(networks):
    """40 W at the die, a quarter of 384 W at the wall of its server, within the spread between applications."""
    work = Workload("mlp", tuple(dense(f"fc{i}", 2048, 2048) for i in range(5)))
    for boundary, watts in (("chip", 40.0), ("system", 96.0)):
        spent = cost(systolic.counts(V1, work, "int8", 200), systolic.prices(V1, nominal(V1), boundary))
        assert float(spent.total / spent.interval) == pytest.approx(watts, rel=0.05)


SIZES = st.fixed_dictionaries(
    {"m": st.integers(1, 3000), "n": st.integers(1, 1000), "k": st.integers(1, 2000), "groups": st.integers(1, 40),
     "batch": st.integers(1, 64)}
)  # fmt: skip


@given(
    sizes=SIZES, key=st.sampled_from(["m", "n", "k", "groups", "batch"]), grown=st.integers(1, 300),
    name=st.sampled_from(NAMES), operator=st.sampled_from(["conv", "depthwise", "matmul"]),
)  # fmt: skip
def test_more_work_is_never_faster_or_cheaper_nor_beyond_the_roofline(sizes, key, grown, name, operator):
    device = machine(name)
    prices = systolic.prices(device, nominal(device), "chip")

    def run(m: int, n: int, k: int, groups: int, batch: int) -> tuple[float, float, float]:
        layers = (product(m, n, k, groups, operator), elementwise("act", "activation", m * n, m * n))
        counts = systolic.counts(device, Workload("w", layers), next(iter(device.precision)), batch)
        spent = cost(counts, prices)
        return float(spent.latency), float(spent.total) * batch, float(counts.events["memory_byte"])

    less, more = run(**sizes), run(**{**sizes, key: sizes[key] + grown})
    assert more[0] >= less[0] * (1 - 1e-6)
    assert more[1] >= less[1] * (1 - 1e-6)
    array, rate = device.array, next(iter(device.precision.values()))
    peak = array.rows.value * array.columns.value * array.count.value * array.clock.value / rate.passes.value
    if operator == "conv":
        assert np.prod(list(sizes.values())) / less[0] <= peak
    assert less[2] / less[0] <= device.memory.bandwidth.value
