"""The GPU model against tiles counted by hand, limits that no machine passes, and MLPerf."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import device as machines
from baselines import gpu
from baselines.description import Precision
from baselines.device import adjusted, known, load, nominal
from baselines.gpu import Gpu
from baselines.gpu_tiles import Multiprocessors, tiled
from baselines.workload import LayerWork, Workload, convolution, dense, elementwise, product
from neuro.cost import cost

GPUS = {name: device for name in known() if isinstance(device := load(name), Gpu)}
A100 = GPUS["a100_pcie_40gb"]
# 100 multiprocessors of 1 GMAC/s without any overhead, and a cache that never limits.
PLAIN = Multiprocessors(100.0, 1e9, 0.0, 0.0, 0.0, 0.0, 1e18)


def weighted(m: int, n: int, k: int) -> LayerWork:
    return LayerWork("product", "conv", m, n, k, 1, m * n * k, n * k, m * k, m * n)


def spent(device: machines.Device, work: Workload, precision: str, batch: int, boundary: str = "chip"):
    counts = machines.counts(device, work, precision, batch)
    return cost(counts, machines.prices(device, nominal(device), boundary))


@pytest.mark.parametrize(
    ("layer", "batch", "macs"),
    [
        # One tile of 32 × 32, its depth of 64 split between two multiprocessors.
        (weighted(32, 32, 64), 1, 32 * 32 * 32),
        # A depth of 33 needs two steps, split in two one each.
        (weighted(1, 1, 33), 1, 32 * 32 * 32),
        # 100 tiles of 32 × 32 in one wave; depth 32 cannot be split.
        (weighted(320, 320, 32), 1, 32 * 32 * 32),
        # 101 tiles of 32 × 32 would be two waves of 32 columns; 64 × 32 needs 51 tiles in one.
        (weighted(3232, 32, 32), 1, 64 * 32 * 32),
        # 16384 tiles of 256 × 128 in 164 waves and 32768 of 128 × 128 in 328 waves are the same work: 164 · 256 · 128.
        # 64 × 32 does it in 2622 waves, less: 2622 · 2048 = 5369856 < 5373952; 32 × 32 in 5243: 5368832.
        (weighted(32768, 16384, 32), 1, 5243 * 32 * 32 * 32),
        # Rows of the whole batch fill a tile together.
        (weighted(1, 32, 32), 32, 32 * 32 * 32),
        # A product of activations is one per sample: 32 tiles, one wave.
        (product("scores", 1, 32, 32), 32, 32 * 32 * 32),
        # 101 of them take two waves.
        (product("scores", 1, 32, 32), 101, 2 * 32 * 32 * 32),
    ],
)
def test_work_of_the_busiest_multiprocessor_by_hand(layer, batch, macs):
    assert tiled([layer], batch, 1.0, PLAIN).macs[0] == pytest.approx(macs, rel=1e-12)


def test_overheads_of_a_tile_by_hand():
    """One tile in three depth steps, no choice of another: operands cost 2 each, a step 1 ms, fill 5 ms."""
    machine = Multiprocessors(1.0, 1e9, 2.0, 1e-3, 5e-3, 0.5, 1e18)
    found = tiled([weighted(32, 32, 96)], 1, 1.0, machine)
    assert found.macs[0] == (32 * 32 + 2 * (32 + 32)) * 96
    assert found.steps[0] == 3
    assert found.fills[0] == 1
    assert tiled([elementwise("pool", "pool", 9, 1)], 1, 1.0, machine).fills[0] == 0
    assert found.bytes[0] == (32 + 32) * 96 + 32 * 32
    # Ten products one after another on the one multiprocessor: half of nine fills is exposed.
    assert tiled([product("p", 32, 32, 32)], 10, 1.0, machine).fills[0] == 1 + 0.5 * 9


def test_a_slow_cache_prefers_large_tiles():
    """Operands per multiply-accumulate fall with the tile's sides."""
    layer, slow = weighted(320, 320, 512), replace(PLAIN, bandwidth=1e6)
    assert tiled([layer], 1, 1.0, slow).bytes[0] < tiled([layer], 1, 1.0, PLAIN).bytes[0]


def test_recurrent_steps_run_one_after_another():
    one, many = dense("cell", 128, 512), dense("cell", 128, 512, steps=784)
    assert tiled([many], 1, 4.0, PLAIN).macs[0] == 784 * tiled([one], 1, 4.0, PLAIN).macs[0]
    for mode in ("compiled", "eager"):
        launches = gpu.counts(A100, Workload("lstm", (many,), mode), "fp32", 1).latency
        assert float(launches.counts[-1, 0, launches.names.index(f"launch_{mode}")]) == 784


def test_kernels_without_a_product_wait_for_memory_alone():
    assert tiled([elementwise("pool", "pool", 64, 16)], 1, 1.0, PLAIN).macs[0] == 0.0


def test_a_small_kernel_by_hand():
    """fp32, one weight: one tile in one step, the overheads and nothing else."""
    latency = float(spent(A100, Workload("tiny", (dense("fc", 1, 1),)), "fp32", 1).latency)
    tile = (32 * 32 + 0.2 * (9.75e12 / 108 * 4 / (1.41e9 * 128)) * 64) * 32
    own = nominal(A100)
    arithmetic = tile * 108 / (9.75e12 * 0.85) + own["tile.fill"] / 1.41e9
    overhead = own["overhead.compiled.launch"] + own["overhead.compiled.host"]
    assert latency == pytest.approx(arithmetic + overhead, rel=1e-5)


def test_weights_beyond_the_cache_come_from_memory():
    """Room is 0.6 × 40 MiB: one layer of 16.8 MB stays, four exceed twice the room and are all fetched."""
    layers = tuple(dense(name, 4096, 4096) for name in "abcd")
    alone = gpu.counts(A100, Workload("alone", layers[:1]), "int8", 1)
    four = gpu.counts(A100, Workload("four", layers), "int8", 1)
    assert float(alone.events["memory_byte"]) == 0.0
    assert float(four.events["memory_byte"]) == 4 * (4096 * 4096 + 4096)


def test_frameworks_wait_for_the_host():
    """Eager small kernels cost a dispatch and a launch each, compiled ones a launch and their fill."""
    layers = tuple(elementwise(f"a{i}", "add", 10, 10) for i in range(100))
    eager = float(spent(A100, Workload("e", layers, "eager"), "fp32", 1).latency)
    assert eager == pytest.approx(0.04e-3 + 100 * (10e-6 + 2e-6), rel=1e-5)
    assert float(spent(A100, Workload("c", layers), "fp32", 1).latency) < eager / 3


def test_structured_zeros_save_time_and_scattered_ones_bytes():
    full = dense("fc", 8192, 8192, rows=512)
    time = {p: float(spent(A100, Workload(p, (layer,)), "fp16", 8).latency) for p, layer in {
        "dense": full, "unstructured": replace(full, density=0.5, pattern="unstructured"),
        "2:4": replace(full, density=0.5, pattern="2:4"),
    }.items()}  # fmt: skip
    # Fewer bytes leave more of the power limit to the clock, no more.
    assert time["dense"] * 0.99 < time["unstructured"] <= time["dense"]
    # Half the multiply-accumulates lift the clock under the power limit above the 1.5 of the units.
    assert 1.2 < time["dense"] / time["2:4"] < 1.8
    # Without units for zeros only bytes are saved.
    pruned, whole = (
        spent(GPUS["t4"], Workload("p", (layer,)), "fp16", 8)
        for layer in (replace(full, density=0.5, pattern="2:4"), full)
    )
    assert float(pruned.latency) == pytest.approx(float(whole.latency), rel=0.01)


@pytest.mark.parametrize("name", GPUS)
def test_power_stays_below_the_limit(networks, name):
    for precision in GPUS[name].precision:
        for batch in (1, 64):
            found = spent(GPUS[name], networks["vgg16"], precision, batch)
            assert float(found.total / found.interval) <= GPUS[name].power_cap.value * 1.001


def test_a_lower_power_limit_costs_time_and_saves_energy(networks):
    """Voltage falls with the clock, so that energy falls less than time rises."""
    full, capped = (
        spent(adjusted(A100, {"power_cap": cap}), networks["resnet50"], "int8", 512) for cap in (250.0, 150.0)
    )
    assert float(capped.interval) > float(full.interval)
    assert float(capped.total) < float(full.total)
    assert float(capped.total / capped.interval) == pytest.approx(150.0, rel=1e-3)


def test_engines_beside_the_gpu_serve_large_batches_of_convolutions(networks):
    orin = GPUS["jetson_orin_agx"]
    work = networks["resnet50"]
    assert gpu.beside(orin, work, "int8", 1) == 0
    assert gpu.beside(orin, work, "int8", 100) == 28
    assert gpu.beside(orin, work, "fp32", 100) == 0
    assert gpu.beside(orin, replace(work, mode="eager"), "int8", 100) == 0
    assert gpu.beside(orin, Workload("bert", (dense("fc", 8, 8), product("s", 4, 4, 4))), "int8", 100) == 0


@settings(deadline=None)
@given(
    m=st.integers(1, 5000), n=st.integers(1, 2000), k=st.integers(1, 4000), batch=st.integers(1, 300),
    axis=st.sampled_from("mnkb"), grown=st.integers(1, 500), precision=st.sampled_from(["int8", "fp16", "fp32"]),
    name=st.sampled_from(["a100_pcie_40gb", "t4", "jetson_orin_agx"]),
)  # fmt: skip
def test_more_work_is_never_faster_or_cheaper_and_the_roof_holds(m, n, k, batch, axis, grown, precision, name):
    device = GPUS[name]

    def run(m: int, n: int, k: int, b: int) -> tuple[float, float]:
        counts = gpu.counts(device, Workload("w", (weighted(m, n, k),)), native, b)
        found = cost(counts, prices)
        return float(found.latency), float(found.total) * b

    native: Precision = cast(Precision, precision)
    prices = gpu.prices(device, nominal(device), "chip")

    sizes = {"m": m, "n": n, "k": k, "b": batch}
    less, more = run(**sizes), run(**{**sizes, axis: sizes[axis] + grown})
    assert more[0] >= less[0] * (1 - 1e-5)
    assert more[1] >= less[1] * (1 - 1e-5)
    beside = device.accelerators.share.value if device.accelerators else 0.0
    macs, bandwidth = gpu.roof(device, native)
    assert m * n * k * batch * (1 - beside) / less[0] <= macs
    counts = gpu.counts(device, Workload("w", (weighted(m, n, k),)), native, batch)
    missed = float(counts.latency.counts[0, 2, counts.latency.names.index("memory_byte")])
    assert missed / less[0] <= bandwidth


FAMILIES = [
    ["a2", "a10", "a100_pcie_40gb", "a100_pcie_80gb", "h100_pcie", "h100_sxm", "b200"],
    ["a2", "a30", "a100_pcie_40gb", "a100_sxm_40gb", "a100_sxm_80gb", "h100_sxm", "h200_sxm"],
    ["l4", "l40s"],
    ["t4", "a10"],
    ["jetson_orin_nano", "jetson_orin_nx", "jetson_orin_agx"],
    ["jetson_xavier_nx", "jetson_xavier_agx", "jetson_orin_agx"],
    ["jetson_nano", "jetson_tx1", "jetson_xavier_nx"],
    ["v100_pcie", "v100_sxm2"],
]


@pytest.mark.parametrize("network", ["resnet50", "vgg16", "mobilenet"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f[0])
def test_a_bigger_machine_of_a_family_is_never_slower_at_large_batch(networks, family, network):
    for precision in ("int8", "fp16", "fp32"):
        times = [float(spent(GPUS[name], networks[network], precision, 128).interval) for name in family]
        assert times == sorted(times, reverse=True), precision


@pytest.mark.parametrize(
    ("name", "batch", "published"),
    [
        # Samples per second in MLPerf Inference, ResNet-50 int8; 1 / latency where one sample is in flight.
        ("a100_pcie_40gb", 1024, 34778),
        ("h100_pcie", 1024, 57182),
        ("a10", 1024, 14634),
        ("a2", 1024, 3212),
        ("jetson_orin_agx", 256, 6438),
        ("a100_pcie_40gb", 1, 1 / 0.441e-3),
        ("h100_pcie", 1, 1 / 0.4155e-3),
        ("a10", 1, 1 / 0.4319e-3),
        ("jetson_orin_agx", 1, 1 / 0.6304e-3),
    ],
)
def test_resnet50_rate(networks, name, batch, published):
    predicted = 1 / float(spent(GPUS[name], networks["resnet50"], "int8", batch).interval)
    assert predicted == pytest.approx(published, rel=0.15)


@pytest.mark.parametrize(
    ("name", "batch", "mode", "published"),
    [
        # Joules at the wall in MLPerf: eight cards at 175, 200 and 215 W, modules at 0.47 and 0.6 of their clock.
        ("a100_pcie_40gb", 1024, {"power_cap": 175.0}, 8.55e-3),
        ("a100_pcie_80gb", 1024, {"power_cap": 200.0}, 7.64e-3),
        ("h100_pcie", 1024, {"power_cap": 215.0}, 5.88e-3),
        ("jetson_orin_agx", 256, {"sustained": 0.47}, 6.25e-3),
        ("jetson_xavier_agx", 256, {"sustained": 0.6}, 16.2e-3),
    ],
)
def test_resnet50_energy_per_sample(networks, name, batch, mode, published):
    predicted = float(spent(adjusted(GPUS[name], mode), networks["resnet50"], "int8", batch, "system").total)
    assert predicted == pytest.approx(published, rel=0.25)


def test_depthwise_convolutions_wait_for_the_vector_units():
    """Many channels of a small map: 2^20 × 9 multiply-accumulates of 100 samples at 0.243 of 9.75 T/s."""
    layer = convolution("dw", (4096, 4096), (3, 3), (1, 1), (16, 16), (16, 16), 4096, inputs=4096 * 256)
    own = nominal(A100)
    overhead = own["overhead.compiled.launch"] + own["overhead.compiled.host"]
    found = float(spent(A100, Workload("dw", (layer,)), "int8", 100).latency) - overhead
    assert found == pytest.approx(100 * 2**20 * 9 / (0.243 * 9.75e12), rel=1e-4)


def test_small_batches_cannot_fill_the_card(networks):
    """Utilisation rises with the batch and stays below the peak."""
    work = networks["resnet50"]
    rates = [1 / float(spent(A100, work, "int8", batch).interval) for batch in (1, 8, 64, 512)]
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] * work.macs < 312e12
