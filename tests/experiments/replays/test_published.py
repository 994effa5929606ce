"""Activities as files and as text: what is given, what follows, what is refused."""

import numpy as np
import pytest

from experiments.replays import published
from experiments.replays.published import load, workload
from neuro import chip
from neuro.constants import leaves
from neuro.errors import BadDescription, BadInput


def stated(text: str, on: str = "loihi1", **settings: str):
    activity = load(f"activity:{text}", settings=settings)
    return workload(activity, chip.load(on), {path: c.value for path, c in leaves(activity)})


def test_spikes_and_synaptic_operations_follow_from_rate_and_fan_out():
    """100 neurons x 0.1 x 20 steps = 200 spikes, each meeting 50 synapses."""
    work = stated("neurons=100,rate=0.1,steps=20,synapses=50")
    assert (work.spikes, work.synops, work.packets, work.cores, work.chips) == (200, 10_000, 200, 1, 1)


def test_a_frequency_is_per_tick():
    """TrueNorth: 1,048,576 neurons at 20 Hz in ticks of 1 ms."""
    work = stated("neurons=1048576,synapses=128,frequency=20 Hz", on="truenorth")
    assert work.synops == pytest.approx(2**20 * 128 * 0.02)
    with pytest.raises(BadInput, match="loihi1 has no ticks"):
        stated("neurons=10,frequency=20Hz")


def test_as_few_cores_and_chips_as_hold_the_neurons():
    work = stated("neurons=600000")
    assert (work.cores, work.chips) == (586, 5)  # 600,000 / 1,024, / 128
    assert work.span == 3 + 1


def test_settings_replace_counts():
    work = stated("neurons=100,steps=20", steps="4", cores="3", management="yes", format="conv")
    assert (work.steps, work.cores, work.management, work.format) == (4, 3, True, "conv")


def test_broadcast_sends_every_spike_to_every_core():
    assert stated("spikes=7,cores=5,broadcast=yes").packets == 35


def test_a_file_beside_the_measurements(tmp_path):
    (tmp_path / "a.toml").write_text(
        'name = "a"\nsteps = { value = "5", source = "s", basis = "measured" }\n'
        '[[busiest]]\nneurons = { value = "9", source = "s", basis = "measured" }\n'
        '[sources.s]\ntitle = "t"\nyear = 2020\n'
    )
    activity = load("a.toml", tmp_path)
    work = workload(activity, chip.load("loihi1"), {path: c.value for path, c in leaves(activity)})
    assert work.steps == 5
    assert work.busiest[0].neurons == 9


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("activity:steps", BadInput, "'steps' states nothing"),
        ("activity:stepps=4", BadDescription, "stepps: unknown key"),
        ("activity:steps=4,rate=1,steps=5", BadInput, "steps given twice; leave one"),
        ("activity:steps=0", BadDescription, "above zero"),
        ("activity:steps=4 s", BadDescription, "not a quantity"),
        ("activity:format=round", BadDescription, "format"),
        ("absent.toml", BadInput, "no such file"),
        ("no_such", BadInput, "unknown activity 'no_such'"),
    ],
)
def test_what_is_refused(text, error, message, tmp_path):
    with pytest.raises(error, match=message):
        load(text, tmp_path)


@pytest.mark.parametrize("name", published.known())
def test_bundled_activities_are_cited(name):
    activity = load(name)
    assert activity.name == name
    for path, constant in leaves(activity):
        assert constant.source in activity.sources, path


def test_doubt_stays_within_what_the_chips_have():
    """Cores drawn beyond 32 chips are cut to what these have; packets follow the cores, draw by draw."""
    activity = load("knn_76800")
    values = {path: c.value for path, c in leaves(activity)} | {"cores": np.array([586.0, 1550.0, 9000.0])}
    work = workload(activity, chip.load("loihi1"), values)
    assert work.cores.tolist() == [586, 1550, 4096]
    assert work.packets.tolist() == [707 * n for n in work.cores]


def test_sources_that_are_no_table_are_a_fault_of_the_file(tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\nsources = 3\n')
    with pytest.raises(BadDescription, match=r"a\.toml: 1 fault\(s\)\n  sources: "):
        load("a.toml", tmp_path)
