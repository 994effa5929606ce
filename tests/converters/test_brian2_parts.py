"""Whatever of a Brian2 network has a part in a step is taken or refused by its name, never left out silently."""

import numpy as np
import pytest

from converters.brian2_parts import step_of, top
from converters.from_brian2 import from_brian2
from neuro.errors import BadInput, Unsupported
from neuro.trace import simulate

brian2 = pytest.importorskip("brian2")
ms, Hz = brian2.ms, brian2.Hz

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]
MEMBRANE = "dv/dt = (g - v) / (10*ms) : 1"
CURRENT = "dg/dt = -g / (5*ms) : 1"


@pytest.fixture(autouse=True)
def _numpy():
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()


def neurons(name: str, size: int = 4, equations: str = f"{MEMBRANE}\n{CURRENT}", **more):
    choices = {"threshold": "v > 1", "reset": "v = 0", "method": "exact"} | more
    return brian2.NeuronGroup(size, equations, name=name, **choices)


def joined(source, target, code: str = "g_post += 1", name: str = "edge", **more):
    edge = brian2.Synapses(source, target, on_pre=code, name=name, **more)
    edge.connect()
    return edge


def refused(*objects) -> str:
    with pytest.raises(Unsupported) as caught:
        from_brian2(brian2.Network(*objects), 10, seed=1, namespace={})
    return str(caught.value)


def test_code_of_every_step_is_refused_wherever_it_is():
    cells, noise = neurons("cells"), brian2.PoissonGroup(3, 9 * Hz, name="noise")
    edge = brian2.Synapses(noise, cells, "w : 1", on_pre="g_post += w", name="edge")
    edge.connect()
    edge.run_regularly("w = 0", name="fading")
    noise.run_regularly("rates = 0*Hz", name="quiet")
    cells[:2].run_regularly("v = 0", name="held")
    network = brian2.Network(cells, noise, edge)
    assert [part.name for part in top(network)] == ["cells", "edge", "noise"]
    text = refused(cells, noise, edge)
    for line in (
        "NeuronGroup 'cells': held changes it in every step",
        "Synapses 'edge': fading changes it in every step",
        "PoissonGroup 'noise': quiet changes it in every step",
    ):
        assert line in text
    assert "fading" in refused(cells, noise)  # Brian2 runs synapses that its source knows too


def test_expressions_that_are_held_over_a_step_are_refused():
    cells = neurons("cells", equations=f"{MEMBRANE}\n{CURRENT}\nI = 2 * v : 1 (constant over dt)")
    assert "cells_subexpression_update changes it in every step" in refused(cells)


def test_what_is_switched_off_is_refused():
    cells, part, edge = neurons("cells"), neurons("part"), None
    edge = joined(cells, part)
    edge.active = False
    part.resetter["spike"].active = False
    text = refused(cells, part, edge)
    assert "Synapses 'edge': is not active; leave it out" in text
    assert "NeuronGroup 'part': part_spike_resetter is not active" in text


def test_other_slots_are_refused():
    one, two, three = (neurons(name) for name in ("one", "two", "three"))
    one.resetter["spike"].when = "end"
    two.thresholder["spike"].when = "before_groups"
    three.state_updater.when = "after_resets"
    lines = brian2.SpikeGeneratorGroup(1, [0], [0] * ms, when="end", name="lines")
    edge = joined(lines, one)
    edge.pre.when = "end"
    text = refused(one, two, three, lines, edge)
    for line in (
        "'one': one_spike_resetter runs in 'end'; only 'resets' is taken",
        "'two': two_spike_thresholder runs in 'before_groups'; only 'thresholds'",
        "'three': three_stateupdater runs in 'after_resets'; only 'groups'",
        "SpikeGeneratorGroup 'lines': sends in 'end'; only 'thresholds' is taken",
        "Synapses 'edge': on_pre of spike in end",
    ):
        assert line in text


def test_links_and_values_that_move_are_refused():
    """Under any name; what stands still may be linked, and gives the spikes of Brian2."""
    driver = neurons("driver", equations=f"{MEMBRANE}\n{CURRENT}\nlevel : 1")
    driver.level = [0.5, 1.5, 2.5, 3.5]
    led = neurons("led", equations="dv/dt = (I - v) / (10*ms) : 1\nI : 1 (linked)")
    led.I = brian2.linked_var(driver, "v")
    other = neurons("other", equations="du/dt = -u / (10*ms) : 1", threshold="u > 1", reset="u = 0")
    edge = joined(other, driver, "g_post += u_pre", "edge")
    text = refused(driver, led, other, edge)
    assert "NeuronGroup 'led': equations: I changes during a run" in text
    assert "Synapses 'edge': u_pre changes during a run" in text

    still = neurons("still", equations="dv/dt = (I - v) / (10*ms) : 1\nI : 1 (linked)")
    still.I = brian2.linked_var(driver, "level")
    monitor = brian2.SpikeMonitor(still)
    network = brian2.Network(driver, still, monitor)
    got = from_brian2(network, 500, namespace={})
    network.run(50 * ms, namespace={})
    counted = simulate(got.network, got.inputs, 500).spikes["still"].sum(axis=0)
    np.testing.assert_array_equal(counted, np.asarray(monitor.count))
    assert counted[-1] > counted[1] > counted[0] == 0


def test_synapses_need_groups_of_the_network():
    cells, outside = neurons("cells"), neurons("outside")
    weighed = brian2.Synapses(cells, cells, "w : 1", on_pre="g_post += 1", name="weighed")
    weighed.connect()
    onto = brian2.Synapses(cells, weighed, on_pre="w_post += 1", name="onto")
    onto.connect(i=[0], j=[0])
    text = refused(cells, weighed, onto, joined(cells, outside, name="away"), joined(outside, cells, name="in"))
    assert "Synapses 'onto': joins 'weighed', which is no group of this network" in text
    assert "Synapses 'away': joins 'outside'" in text
    assert "Synapses 'in': joins 'outside'" in text


def test_event_driven_variables_are_dynamics():
    cells = neurons("cells")
    edge = brian2.Synapses(cells, cells, "dA/dt = -A / (5*ms) : 1 (event-driven)", on_pre="g_post += A", name="edge")
    edge.connect()
    assert "Synapses 'edge': has dynamics of its own" in refused(cells, edge)


def test_a_network_that_has_run_is_refused_until_it_is_restored():
    cells = neurons("cells")
    network = brian2.Network(cells)
    network.store()
    network.run(1 * ms)
    with pytest.raises(BadInput, match=r"has run for 0.001 s already; .* store\(\) before run\(\) and restore\(\)"):
        from_brian2(network, 10)
    network.restore()
    assert from_brian2(network, 10).network["cells"].size == 4


def test_another_device_is_refused():
    cells = neurons("cells")
    network = brian2.Network(cells)
    brian2.set_device("cpp_standalone", build_on_run=False)
    try:
        with pytest.raises(BadInput, match=r"device is CPPStandaloneDevice, .* remove set_device"):
            step_of(network)
    finally:
        brian2.device.reinit()
        brian2.set_device("runtime")


def test_steps_of_monitors_do_not_matter_and_others_are_named():
    cells = neurons("cells")
    watching = brian2.StateMonitor(cells, "v", record=True, dt=1 * ms)
    assert step_of(brian2.Network(cells, watching)) == pytest.approx(1e-4)
    slow = neurons("slow", dt=1 * ms)
    with pytest.raises(BadInput, match=r"several time steps \(0.0001 s: cells; 0.001 s: slow\)"):
        step_of(brian2.Network(cells, slow))
    with pytest.raises(BadInput, match="only monitors"):
        step_of(brian2.Network(watching))
