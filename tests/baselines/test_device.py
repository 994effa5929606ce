"""Descriptions of conventional machines: what is bundled is sound, what is faulty is refused with its key path."""

from pathlib import Path

import pytest

from baselines import from_shapes
from baselines.cpu import Cpu
from baselines.device import PACKAGE, adjusted, counts, known, load, merged, nominal, units
from baselines.eyeriss import Asic
from baselines.fpga import Fpga
from baselines.gpu import Gpu
from baselines.mcu import Mcu
from baselines.npu import Npu
from baselines.systolic import Systolic
from baselines.workload import Workload, convolution
from neuro.constants import leaves, locate
from neuro.errors import BadDescription, BadInput, DoesNotFit

KINDS = {"a100_pcie_40gb": Gpu, "jetson_orin_agx": Gpu, "tpu_v4": Systolic, "edge_tpu": Systolic,
         "eyeriss_v1": Asic, "max78000": Npu, "stm32l4r5": Mcu,
         "stm32h7a3": Mcu, "epyc_9654": Cpu, "pynq_z2": Fpga}  # fmt: skip


def altered(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of a bundled file with one passage replaced."""
    text = locate(name, PACKAGE, "device").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "altered.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_bundled_devices_are_the_known_ones():
    assert set(known()) >= set(KINDS)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_bundled_device_loads_as_its_kind(name, kind):
    device = load(name)
    assert isinstance(device, kind)
    assert device.name == name
    assert "chip" in device.power


@pytest.mark.parametrize("name", KINDS)
def test_idle_power_is_below_active_power_at_every_boundary(name):
    for boundary, power in load(name).power.items():
        assert power.idle.value < power.active.value, boundary


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    # 2 FLOPs are one multiply-accumulate: 624 TOPS, 312 TFLOPS, 275 TFLOPS, 4 TOPS, 33.6 GMAC/s.
    [("a100_pcie_40gb", "int8", 312e12), ("a100_pcie_40gb", "fp16", 156e12), ("tpu_v4", "bf16", 137.5e12),
     ("edge_tpu", "int8", 2e12), ("eyeriss_v1", "int16", 33.6e9)],
)  # fmt: skip
def test_peaks_are_the_published_ones(name, precision, peak):
    device = load(name)
    assert precision in device.precision
    match device:
        case Gpu():
            found = device.precision[precision].rate.value
        case Systolic():
            a = device.array
            found = a.rows.value * a.columns.value * a.count.value * a.clock.value
        case Asic():
            found = device.array.rows.value * device.array.columns.value * device.array.clock.value
    assert found == pytest.approx(peak, rel=0.02)


def test_nominal_values_follow_the_dotted_paths():
    device = load("a100_pcie_40gb")
    values = nominal(device)
    assert values["memory.bandwidth"] == 1555e9
    assert values["precision.int8.rate"] == 312e12
    assert values["multiprocessors"] == 108
    assert set(values) == {path for path, _ in leaves(device)}


def test_shared_physics_is_one_quantity_with_one_range():
    devices = [load(name) for name in known()]
    shared: dict[str, set[tuple[float, float, float]]] = {}
    for device in devices:
        for _, constant in leaves(device):
            if constant.shared:
                shared.setdefault(constant.shared, set()).add((constant.low, constant.value, constant.high))
    assert "hbm2 byte" in shared
    assert {name: len(ranges) for name, ranges in shared.items() if len(ranges) > 1} == {}


def test_path_to_a_file_works_like_a_name(tmp_path):
    path = altered(tmp_path, "edge_tpu", 'title = "Google Edge TPU, USB 3 accelerator"', 'title = "Mine"')
    assert load(path).title == load(str(path)).title == "Mine"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(BadInput, match=r"unknown device 'tpu_v5'\. Did you mean 'tpu_v5"):
        load("tpu_v5")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.toml: no such file"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("edge_tpu", 'kind = "tpu"', 'kind = "npu"', r"kind: 'npu' is no model.*asic, cpu, fpga, gpu, mcu, tpu"),
        ("edge_tpu", 'kind = "tpu"\n', "", r"kind: None is no model"),
        ("edge_tpu", "[memory]", "[memroy]", r"memroy: unknown key"),
        ("edge_tpu", 'bandwidth = { value = "475 MB/s"', 'bandwidth = { value = "475 MB"', r"memory\.bandwidth"),
        ("edge_tpu", 'clock = { value = "480 MHz"', 'clock = { value = "480"', r"array\.clock\.value.*no unit"),
        ("edge_tpu", "[precision.int8]", "[precision.int7]", r"precision\.int7"),
        ("stm32l4r5", "[core]", "[kore]", r"kore: unknown key"),
        ("eyeriss_v1", 'clock = { value = "200 MHz"', 'clock = { value = "0 MHz"', r"array\.clock\.value.*above zero"),
        ("tpu_v4", '[sources.cloud4]', '[sources.cloud5]', r"power\.chip\.active\.source: 'cloud4' is not declared"),
        ("tpu_v4", '[array]', '[array', r"not a readable TOML file"),
    ],
)  # fmt: skip
def test_faults_are_refused_with_their_key_path(tmp_path, name, old, new, message):
    with pytest.raises(BadDescription, match=f"(?s){message}"):
        load(altered(tmp_path, name, old, new))


def test_what_a_kind_shares_is_overridden_key_by_key_and_constants_as_a_whole():
    common = {"a": {"x": {"value": "1 s", "low": "0 s"}, "y": {"value": "2 s"}}, "b": 1}
    own = {"a": {"x": {"value": "3 s"}}, "c": {"z": {"value": "4 s"}}}
    assert merged(common, own) == {
        "a": {"x": {"value": "3 s"}, "y": {"value": "2 s"}}, "b": 1, "c": {"z": {"value": "4 s"}}
    }  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_an_adjusted_constant_is_known_and_the_others_stay(name):
    device = load(name)
    paths = [path for path, _ in leaves(device)]
    chosen = paths[len(paths) // 2]
    changed = adjusted(device, {chosen: 2 * nominal(device)[chosen]})
    assert nominal(changed) == nominal(device) | {chosen: 2 * nominal(device)[chosen]}
    constant = dict(leaves(changed))[chosen]
    assert constant.low == constant.value == constant.high
    assert nominal(load(name)) == nominal(device)


def test_adjusting_what_is_not_there_suggests_the_nearest():
    with pytest.raises(BadInput, match=r"edge_tpu has no constant 'array.clok'\. Did you mean 'array.clock'"):
        adjusted(load("edge_tpu"), {"array.clok": 1.0})


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_adjusted_constants_are_above_zero_and_finite(value):
    with pytest.raises(BadInput, match="above zero and finite"):
        adjusted(load("edge_tpu"), {"array.clock": value})


@pytest.mark.parametrize(("path", "value"), [("array.rows", 0.5), ("array.weight_words", 1.0)])
def test_constants_that_leave_no_way_to_run_are_said_to(path, value):
    device = adjusted(load("eyeriss_v1"), {path: value})
    with pytest.raises(DoesNotFit, match="eyeriss_v1: no way to run"):
        counts(device, Workload("w", (convolution("c", (8, 8), (3, 3), (1, 1), (10, 10), (8, 8)),)), "int16", 1)


ANOTHER = '[precision.int8]\nmac = { value = "1 pJ", source = "estimate", basis = "derived" }\n'


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("l4", "[power.chip]", "[power.board]", r"power.chip: missing"),
        ("edge_tpu", 'kind = "tpu"', 'kind = ["tpu"]', r"kind: \['tpu'\] is no model"),
        ("eyeriss_v1", "[precision.int16]", f"{ANOTHER}[precision.int16]", r"precision: .*at most 1 item"),
    ],
)  # fmt: skip
def test_what_a_model_needs_is_asked_of_the_file(tmp_path, name, old, new, message):
    with pytest.raises(BadDescription, match=f"(?s){message}"):
        load(altered(tmp_path, name, old, new))


def test_units_of_a_pipeline_stay_within_the_chip():
    device, work = load("pynq_z2"), from_shapes.load("cnv")
    used = units(device, work, "int1")
    assert used["devices"] == 1
    assert 0 < used["lut"] <= device.part.lut.value
    assert 0 <= used["bram"] <= device.part.bram.value
    assert units(load("l4"), work, "int8") == {"devices": 1}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'active = { value = "24 W", low = "18 W"',
            'active = { value = "5 W", low = "4 W"',
            "power.chip: idle is above",
        ),
        (
            'idle = { value = "58 W", low = "40.6 W"',
            'idle = { value = "9 W", low = "8 W"',
            "power.system: below that of",
        ),
    ],
)
def test_powers_that_cannot_be_are_refused(tmp_path, old, new, said):
    """An L4 whose card draws 12 W at rest: 5 W at work are too few, and so are 9 W of the server around it at rest."""
    with pytest.raises(BadDescription, match=rf"altered\.toml: 1 fault\(s\)\n  {said}"):
        load(altered(tmp_path, "l4", old, new))
