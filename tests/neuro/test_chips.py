"""The bundled chips against their published laws, and events that nothing prices."""

import tomllib
from importlib import resources
from pathlib import Path as File

import numpy as np
import pytest
from scipy.optimize import least_squares

from neuro.capability import realise
from neuro.chip import PACKAGE, Memory, known, load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import Counts, Path
from neuro.testing import check_chip

ROOT = File(__file__).parents[2]

EVERYWHERE = {"spike", "axon_out", "synop_dense", "synop_sparse", "synop_conv", "host_write", "host_read", "reset"}

RECURRENT = [(11.58, 68e-3), (20.07, 71e-3), (95.93, 94e-3)]
"""TrueNorth at 0.8 V: Hz of 1,048,576 neurons with 128 synapses each, W."""

CORES = np.array([4042, 4042, 4042, 423, 1943.0])
TICKS = np.array([1249, 2526, 1615, 1539, 2610.0])
WATTS = np.array([204.4, 256.5, 200.6, 26.1, 142.6]) * 1e-3
"""Esser et al. 2016, Table 3: CIFAR-10, SVHN, GTSRB, VAD, TIMIT; TrueNorth at 1.0 V, one frame a tick."""


def raw(name: str) -> dict:
    """The tables of a bundled file as written."""
    return tomllib.loads((resources.files(PACKAGE) / f"{name}.toml").read_text(encoding="utf-8"))


def watts(name: str, events: dict[str, float], ticks: float = 0.0, machines: float = 1.0, **changed: float) -> float:
    """Power of a chip at which `events` happen in every second, through the cost function that prices networks."""
    chip = load(name)
    values = {path: c.value for path, c in leaves(chip)} | {path.replace("__", "."): v for path, v in changed.items()}
    second = {"tick": ticks} if ticks else {"host_write": 1.0 / values["time.host_write"]}
    wait = Path(tuple(second), np.array([list(second.values())], np.float64)[None])
    spent = cost(
        Counts({k: np.asarray(v, np.float64) for k, v in events.items()}, wait, wait, machines=machines),
        prices(chip, values, "chip"),
    )
    assert float(spent.interval) == pytest.approx(1.0, rel=1e-3)
    return float(spent.total)


@pytest.mark.parametrize("name", known())
def test_bundled_chips_conform(name):
    assert load(name).name == name
    check_chip(load(name))


@pytest.mark.parametrize("name", known())
def test_every_event_is_priced_or_included_for_a_reason(name):
    """Counted on the file as written, apart from the reader and from `check_chip`."""
    tree = raw(name)
    included = tree.get("included", {})
    energy, time = ({*tree[table], *included.get(table, {})} for table in ("energy", "time"))
    pace = tree.get("pace", {}).get("kind", "barrier")
    swept = set() if pace == "event" else {"neuron_update"}
    swept |= {"neuron_program"} if tree["neuron"]["program"] and swept else set()
    many = float(tree["limits"].get("chips", {"value": "1"})["value"]) > 1
    extra = {"synop_graded"} if tree["neuron"].get("graded") else set()
    paced = {"barrier": {"barrier", "barrier_level"}, "tick": {"tick"}, "event": {"layer"}}[pace]
    alone = float(tree["limits"]["cores"]["value"]) == 1
    needed = EVERYWHERE | swept | extra
    assert energy >= needed | (set() if alone else {"hop"}) | ({"chip_hop"} if many else set())
    assert time >= needed | {"axon_in"} | paced | ({"barrier_chip"} if many and pace == "barrier" else set())
    assert ("mac" in energy) == ("mac" in time)
    for table in included.values():
        assert all(len(reason.split()) >= 4 for reason in table.values()), "a reason is a sentence"


def test_truenorth_meets_its_three_points_at_one_voltage():
    """P = 64.43 mW + 2.297 pJ x events/s: two points it goes through, one it was not drawn through."""
    for hertz, measured in RECURRENT:
        assert watts("truenorth", {"synop_dense": hertz * 2**20 * 128}, ticks=1000) == pytest.approx(measured, rel=0.03)
    assert watts("truenorth", {"synop_dense": 20.07 * 2**20 * 128}, ticks=1000) == pytest.approx(70.6e-3, rel=1e-3)


def test_truenorth_across_voltages():
    """72 mW at 0.775 V and 65 mW at 0.75 V, both at 20 Hz."""
    at = watts("truenorth", {"synop_dense": 20.07 * 2**20 * 128}, ticks=1000)
    assert at == pytest.approx(72e-3, rel=0.1)
    assert at == pytest.approx(65e-3, rel=0.1)


def fitted(kept: np.ndarray) -> np.ndarray:
    """a (W a core) and b (J a core and tick) of P = cores (a + b ticks/s): least squares of the logarithm."""
    cores, ticks, measured = CORES[kept], TICKS[kept], WATTS[kept]

    def residual(log):
        a, b = np.exp(log)
        return np.log(cores * (a + b * ticks) / measured)

    return np.exp(least_squares(residual, np.log([3e-5, 1e-8]), xtol=1e-12, ftol=1e-12, gtol=1e-12).x)


def test_eedn_constants_are_the_fit_and_their_ranges_its_spread():
    chip = load("truenorth_eedn")
    static, step = chip.power["chip"].active, chip.energy.core_step
    a, b = fitted(np.ones(5, bool))
    assert static.value / 4096 == pytest.approx(a, rel=1e-3)
    assert step.value == pytest.approx(b, rel=1e-3)
    refits = np.array([fitted(np.arange(5) != left) for left in range(5)])
    assert (static.low / 4096, static.high / 4096) == pytest.approx((refits[:, 0].min(), refits[:, 0].max()), rel=2e-3)
    assert (step.low, step.high) == pytest.approx((refits[:, 1].min(), refits[:, 1].max()), rel=3e-3)


def test_eedn_law_in_sample():
    for cores, ticks, measured in zip(CORES, TICKS, WATTS, strict=True):
        found = watts(
            "truenorth_eedn", {"core_step": cores * ticks}, ticks=ticks, machines=cores / 4096, time__tick=1 / ticks
        )
        assert found == pytest.approx(measured, rel=0.13)


def test_eedn_law_leaving_one_network_out():
    errors = []
    for left in range(5):
        a, b = fitted(np.arange(5) != left)
        errors.append(abs(CORES[left] * (a + b * TICKS[left]) / WATTS[left] - 1))
    assert np.median(errors) <= 0.15
    assert max(errors) <= 0.2


def test_odin_goes_through_both_points():
    """477 uW at 37.5 MSOP/s and 75 MHz, 35 uW at 650 kSOP/s and 1.3 MHz."""
    assert watts("odin", {"synop_dense": 37.5e6}) == pytest.approx(477e-6, rel=0.003)
    assert watts("odin", {"synop_dense": 650e3}, clock=1.3e6) == pytest.approx(35e-6, rel=0.005)


def test_odin_takes_two_cycles_an_operation():
    chip = load("odin")
    cycle = 1 / chip.clock.value
    assert chip.time.synop_dense.value == pytest.approx(2 * cycle, rel=0.002)
    assert chip.time.layer.value == pytest.approx(256 * 2 * cycle, rel=0.001)
    assert 1 / chip.time.synop_dense.value == pytest.approx(37.5e6, rel=0.002)  # the most that was measured


def test_loihi_barrier_over_many_chips():
    """Frady et al. 2020: 14.3 us for 4 x 64 chips (3 + 63 borders), 16.2 us for 12 x 64 (11 + 63); 1.8 us on one."""
    chip = load("loihi1")
    one = chip.time.barrier.value + 3 * chip.time.barrier_level.value
    assert one == pytest.approx(1.8e-6)
    assert one + 66 * chip.time.barrier_chip.value == pytest.approx(14.3e-6, rel=0.02)
    assert one + 74 * chip.time.barrier_chip.value == pytest.approx(16.2e-6, rel=0.03)
    assert 1 / chip.time.link.value == pytest.approx(3.44e9, rel=0.002)


def test_loihi2_is_faster_by_intels_factors():
    """Updates 2x, spikes 10x, signals between chips 4x; a graded spike costs a synaptic operation or more."""
    one, two = load("loihi1").time, load("loihi2").time
    assert (one.neuron_access.value + one.neuron_update.value) / two.neuron_update.value == pytest.approx(2, rel=0.01)
    assert one.spike.value / two.spike.value == pytest.approx(10)
    assert one.barrier_chip.value / two.barrier_chip.value == pytest.approx(4, rel=0.02)
    chip = load("loihi2")
    for table in (chip.energy, chip.time):
        assert table.synop_graded.value >= table.synop_dense.value
        assert table.synop_graded.low >= table.synop_dense.low


def test_spinnaker2_matrix_units_at_their_peak():
    """4.5 TOPS, 2.7 TOPS/W, two operations a multiply-accumulate: 1.67 W over 152 elements."""
    chip = load("spinnaker2")
    macs = chip.limits.cores.value / chip.time.mac.value
    assert 2 * macs == pytest.approx(4.5e12, rel=0.002)
    assert 2 / chip.energy.mac.value == pytest.approx(2.7e12, rel=0.001)
    assert macs * chip.energy.mac.value == pytest.approx(4.5 / 2.7, rel=0.003)
    assert chip.limits.cores.value * chip.limits.compartments.value > 150_000


def test_speck_cores_add_up():
    """327,680 neurons; 16, 32, 64 Ki words; 30 to 100 M synaptic operations a second."""
    chip = load("speck")
    assert sum(kind.cores.value * kind.compartments.value for kind in chip.core_kinds) == 327_680
    words = [kind.synapse_memory.value / 8 / 1024 for kind in chip.core_kinds]
    assert words == [16, 32, 64, 16]
    assert 1 / chip.time.synop_conv.high == pytest.approx(30e6, rel=0.002)
    assert 1 / chip.time.synop_conv.low == pytest.approx(100e6)


def test_spinnaker1_boundaries_are_kept_apart():
    """8 to 20 nJ on the chip; at the wall, 576 chips at about 10^9 events/s, 0.6 uJ: nearly all power x time."""
    chip = load("spinnaker1")
    assert (chip.energy.synop_dense.low, chip.energy.synop_dense.high) == pytest.approx((8e-9, 20e-9))
    share = 576 * chip.power["system"].active.value / 1e9
    assert 0.5e-6 < share < 0.7e-6
    assert chip.energy.synop_dense.value < 0.05 * share


def test_other_priced_chips_agree_with_what_was_published_of_them():
    darwin, tianjic, bss = load("darwin3"), load("tianjic"), load("brainscales2")
    assert darwin.limits.cores.value * darwin.limits.compartments.value == pytest.approx(2.35e6, rel=0.01)
    assert darwin.energy.synop_dense.value == pytest.approx(5.47e-12)
    assert tianjic.energy.synop_dense.high == pytest.approx(1 / 650e9, rel=0.002)
    assert tianjic.energy.synop_graded.high == pytest.approx(2 / 1.28e12, rel=0.002)
    # at the published rate, operations and power at rest make up the typical 0.95 W
    busy = tianjic.power["chip"].active.value + tianjic.energy.synop_dense.value / tianjic.time.synop_dense.value
    assert busy == pytest.approx(0.95, rel=0.02)
    assert bss.limits.synapse_memory.value / bss.limits.weight_bits.value == 131_072 / 2
    xylo = load("xylo").power["chip"]
    assert xylo.active.high <= 1e-3 >= xylo.idle.high


@pytest.mark.parametrize("name", ["akida", "brainscales2", "odin", "tianjic"])
def test_chips_without_soft_reset_run_no_spiking_code(name):
    for code in ("rate", "unary", "bits"):
        assert realise(load(name), code).missing == "reset by subtraction"


@pytest.mark.parametrize("name", ["truenorth", "truenorth_eedn", "odin", "akida", "brainscales2"])
def test_chips_with_narrow_weights_refuse_eight_bits(name):
    assert load(name).limits.weight_bits.value < 8


def test_integer_networks_run_on_the_same_silicon_where_there_is_a_matrix_unit_or_a_graded_spike():
    assert {name for name in known() if load(name).energy.mac} == {"generic", "spinnaker2"}
    graded = {name for name in known() if load(name).neuron.graded}
    assert graded == {"akida", "generic", "loihi2", "spinnaker1", "spinnaker2", "tianjic"}


def test_scope_and_grade():
    mapped = {name for name in known() if load(name).scope == "mapped"}
    assert mapped == {"generic", "loihi1", "loihi2", "speck", "spinnaker2"}
    held = {name for name in known() if load(name).evidence.energy == "same chip"}
    assert held == {"loihi1", "odin", "spinnaker1", "truenorth", "truenorth_eedn"}


def test_the_template_explains_every_key():
    """Each key of the schema stands in generic.toml, in force or as a comment."""
    text = (resources.files(PACKAGE) / "generic.toml").read_text(encoding="utf-8")
    chip = load("generic")
    tables = (chip, chip.limits, chip.neuron, chip.mesh, chip.pace, chip.energy, chip.time)
    for table in (*map(type, tables), Memory):
        for key in table.model_fields:
            assert f"\n{key} = " in text or f"\n# {key} = " in text or f"[{key}" in text, key


def test_the_guide_lists_every_chip_with_scope_and_grade():
    text = (ROOT / "docs" / "chips.md").read_text(encoding="utf-8")
    chips = [load(name) for name in known()]
    rows = [f"| `{c.name}` | {c.scope} | {c.evidence.energy} / {c.evidence.latency} |" for c in chips]
    assert [row for row in rows if row not in text] == []
