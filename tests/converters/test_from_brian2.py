"""Networks of Brian2 taken over: the same spikes as there, the way back, and all that is refused."""

import numpy as np
import pytest

from converters.from_brian2 import from_brian2
from converters.to_brian2 import to_brian2
from neuro.errors import BadInput, Unsupported
from neuro.trace import simulate

brian2 = pytest.importorskip("brian2")
ms, millivolt, second, Hz = brian2.ms, brian2.mV, brian2.second, brian2.Hz

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]
STEPS, DT = 600, 1e-4


@pytest.fixture(autouse=True)
def _numpy():
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    brian2.seed(3)


def lines(rng: np.random.Generator, size: int = 20, rate: float = 0.05):
    step, neuron = np.nonzero(rng.random((STEPS, size)) < rate)
    return brian2.SpikeGeneratorGroup(size, neuron, step * DT * second, name="lines")


def wire(source, target, rng: np.random.Generator, code: str, scale: float, name: str, density: float = 0.3, **names):
    """Random synapses with weights and delays of their own."""
    synapses = brian2.Synapses(source, target, "w : 1", on_pre=code, name=name, **names)
    pre, post = np.nonzero(rng.random((source.N, target.N)) < density)
    synapses.connect(i=pre, j=post)
    synapses.w = rng.uniform(0.2, 1.0, len(pre)) * scale
    synapses.delay = rng.integers(0, 15, len(pre)) * DT * second
    return synapses


def assert_same(objects, cells, steps: int = STEPS, schedule=None, least: int = 50):
    """Ours before Brian2 has run, then Brian2, then ours in Brian2."""
    monitor = brian2.SpikeMonitor(cells)
    network = brian2.Network(*objects, monitor)
    if schedule:
        network.schedule = schedule
    got = from_brian2(network, steps, namespace={})
    ours = simulate(got.network, got.inputs, steps).spikes[cells.name]
    network.run(steps * DT * second, namespace={})
    there = np.zeros_like(ours)
    there[np.rint(np.asarray(monitor.t / second) / DT).astype(int), np.asarray(monitor.i)] = True
    np.testing.assert_array_equal(ours, there)
    assert there.sum() >= least
    np.testing.assert_array_equal(to_brian2(got.network, got.inputs).run(steps)[cells.name], ours)
    return got


def cuba(size: int = 400, density: float = 0.2):
    """Vogels and Abbott's network as among Brian2's examples, a tenth of its size: two currents, two subgroups."""
    cells = brian2.NeuronGroup(
        size,
        """dv/dt = (ge + gi - (v - El)) / taum : volt (unless refractory)
        dge/dt = -ge / taue : volt
        dgi/dt = -gi / taui : volt""",
        threshold="v > Vt", reset="v = Vr", refractory=5 * ms, method="exact", name="cells",
        namespace={
            "taum": 20 * ms, "taue": 5 * ms, "taui": 10 * ms,
            "Vt": -50 * millivolt, "Vr": -60 * millivolt, "El": -49 * millivolt,
        },
    )  # fmt: skip
    cells.v = "-60*mV + rand() * 10*mV"
    exciting = size * 4 // 5
    edges = [
        brian2.Synapses(cells[:exciting], cells, on_pre="ge += we", namespace={"we": 1.62 * millivolt}, name="exc"),
        brian2.Synapses(cells[exciting:], cells, on_pre="gi += wi", namespace={"wi": -9 * millivolt}, name="inh"),
    ]
    for edge in edges:
        edge.connect(p=density)
    edges[0].delay = "rand() * 2*ms"
    return cells, edges


def test_cuba():
    cells, edges = cuba()
    got = assert_same([cells, *edges], cells, 2000, least=300)
    model = got.network["cells"].model
    assert model is not None
    np.testing.assert_allclose(model.decay, np.exp(-0.1 / 20), rtol=1e-14)
    np.testing.assert_allclose(np.array(model.current_decays), np.exp([-0.1 / 5, -0.1 / 10]), rtol=1e-14)
    # v - Vr: the threshold is 10 mV above, and the rest 11 mV
    np.testing.assert_allclose(model.threshold, 0.01, rtol=1e-12)
    np.testing.assert_allclose(model.bias, 0.011 * -np.expm1(-0.1 / 20), rtol=1e-12)
    assert model.refractory == 49  # free again when 50 steps have passed
    assert {p.receptor for p in got.network.projections} == {0, 1}
    assert sorted({p.delay for p in got.network.projections}) == list(range(21))
    gain = (np.exp(-0.1 / 20) - np.exp(-0.1 / 5)) * 5 / 15  # of ge on v: 1 / taum over the difference of the rates
    weights = [p.weight for p in got.network.projections if p.receptor == 0]
    np.testing.assert_allclose(np.concatenate(weights), 1.62e-3 * gain, rtol=1e-12)
    assert sum(len(w) for w in weights) == len(edges[0])


@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_random_linear_neurons(reset, method):
    """Time constants, thresholds and biases of every neuron's own, an adapting current, recurrent delays."""
    rng = np.random.default_rng([len(reset), len(method), reset == "hard"])
    cells = brian2.NeuronGroup(
        30,
        """dv/dt = (2 * g - h - z + I - v) / tau : 1 (unless refractory)
        dg/dt = -g / (5*ms) : 1
        dh/dt = -h / th : 1
        dz/dt = -z / (30*ms) : 1
        tau : second (constant)
        th : second (constant)
        vt : 1 (constant)
        I : 1 (constant)
        deaf : second (constant)""",
        threshold="v >= vt", reset=("v = 0.1" if reset == "hard" else "v -= vt - 0.05") + "\nz += 0.2",
        refractory="deaf", method=method, name="cells",
    )  # fmt: skip
    cells.tau, cells.th = rng.uniform(8, 25, 30) * ms, rng.uniform(3, 12, 30) * ms
    cells.vt, cells.I, cells.v = rng.uniform(0.8, 1.2, 30), rng.uniform(0, 1.1, 30), rng.uniform(-0.5, 0.7, 30)
    cells.deaf = rng.integers(0, 25, 30) * DT * second
    source = lines(rng)
    edges = [
        wire(source, cells, rng, "g_post += w", 0.5, "entering"),
        wire(cells, cells, rng, "h += w * 0.3; g -= 0.01", 0.5, "inside"),
    ]
    got = assert_same([source, cells, *edges], cells)
    model = got.network["cells"].model
    assert model is not None
    assert model.receptors == 2
    assert model.adapts == "current"


@pytest.mark.parametrize(
    ("reset", "refractory", "flagged", "later"),
    [
        ("v = 0", None, False, False), ("v = 0", None, False, True), ("v = 0", 20, True, False),
        ("v = 0", 0, True, True), ("v = 0", 1, False, True), ("v -= 1", None, False, False),
        ("v -= 1", None, False, True), ("v -= 1", 1, False, False), ("v -= 1", 0, True, True),
        ("v -= 1", 9, True, True),
    ],
)  # fmt: skip
def test_spikes_onto_the_membrane_itself(reset, refractory, flagged, later):
    rng = np.random.default_rng(8)
    flag = "(unless refractory)" if flagged else ""
    cells = brian2.NeuronGroup(
        30, f"dv/dt = -v / (10*ms) : 1 {flag}", threshold="v > 1", reset=reset, method="exact", name="cells",
        refractory=False if refractory is None else refractory * DT * second,
    )  # fmt: skip
    source = lines(rng)
    edges = [
        wire(source, cells, rng, "v_post += w", 0.8, "entering"),
        wire(cells, cells, rng, "v_post += w - 0.35", 0.5, "inside"),
    ]
    slots = ["start", "groups", "thresholds", "resets", "synapses", "end"] if later else None
    if flagged and reset == "v -= 1":  # what is left above zero would decay while spikes are lost
        with pytest.raises(Unsupported, match=r"put resets before synapses and drop \(unless refractory\)"):
            from_brian2(brian2.Network(source, cells, *edges), STEPS)
    else:
        assert_same([source, cells, *edges], cells, schedule=slots)


def test_an_integrator_without_equations_and_no_leak():
    rng = np.random.default_rng(2)
    cells = brian2.NeuronGroup(9, "v : 1", threshold="v >= 5", reset="v -= 5", name="cells")
    source = lines(rng)
    got = assert_same([source, cells, wire(source, cells, rng, "v += w", 3.0, "entering")], cells)
    model = got.network["cells"].model
    assert model is not None
    assert (model.decay, model.bias, model.threshold, model.current_decay) == (1.0, 0.0, 5.0, (0.0,))


def test_poisson_inputs_need_a_seed():
    source = brian2.PoissonGroup(200, 50 * Hz, name="noise")
    cells = brian2.NeuronGroup(3, "v : 1", threshold="v > 5", reset="v = 0", name="cells")
    network = brian2.Network(source, cells)
    with pytest.raises(Unsupported, match=r"PoissonGroup 'noise': is random; give seed"):
        from_brian2(network, STEPS)
    train = from_brian2(network, STEPS, seed=1).inputs["noise"]
    expected = 50 * DT
    assert abs(train.mean() - expected) < 5 * np.sqrt(expected / train.size)
    np.testing.assert_array_equal(train, from_brian2(network, STEPS, seed=1).inputs["noise"])


def test_all_that_has_no_counterpart_is_listed():
    """Conductances, noise, a quadratic membrane, code of every step, plasticity: each with its object's name."""
    equations = "dv/dt = (g * (1 - v) - v) / (10*ms) : 1\ndg/dt = -g / (5*ms) : 1"
    conductance = brian2.NeuronGroup(2, equations, threshold="v > 1", reset="v = 0", method="euler", name="conductance")
    noisy = brian2.NeuronGroup(
        2,
        "dv/dt = -v / (10*ms) + xi * (1*ms)**-0.5 : 1",
        threshold="v > 1",
        reset="v = 0",
        method="euler",
        name="noisy",
    )
    square = brian2.NeuronGroup(2, "dv/dt = v**2 / ms : 1", threshold="v > 1", reset="v = 0", name="square")
    odd = brian2.NeuronGroup(2, "dv/dt = -v / ms : 1", threshold="v > 1 and t > 1*ms", reset="v = 0", name="odd")
    kept = brian2.NeuronGroup(2, "dv/dt = -v / ms : 1", threshold="v > 1", reset="v = v / 2", name="kept")
    coded = brian2.NeuronGroup(2, "dv/dt = -v / ms : 1", threshold="v > 1", reset="v = 0", name="coded")
    coded.run_regularly("v = v + 1", name="push")
    plain = brian2.NeuronGroup(2, "dv/dt = -v / ms : 1", threshold="v > 1", reset="v = 0", name="plain")
    plastic = brian2.Synapses(plain, plain, "w : 1", on_pre="v_post += w", on_post="w += 1", name="plastic")
    plastic.connect()
    scaled = brian2.Synapses(plain, plain, on_pre="v_post += v_pre", name="scaled")
    scaled.connect()
    network = brian2.Network(conductance, noisy, square, odd, kept, coded, plain, plastic, scaled)
    with pytest.raises(Unsupported) as caught:
        from_brian2(network, STEPS)
    text = str(caught.value)
    for name in ("conductance", "noisy", "square", "odd", "kept", "coded"):
        assert f"NeuronGroup {name!r}" in text
    assert "Synapses 'plastic': on_post of spike in synapses; only on_pre" in text
    assert "Synapses 'scaled': v_pre changes during a run" in text
    assert "'plain'" not in text.replace("of 'plain'", "")
    assert "put a SpikeGeneratorGroup in its place" in text


def test_spikes_that_brian2_loses_are_not_kept():
    """A membrane with a bias loses what comes in the step of its reset; a refusal says what to change."""
    cells = brian2.NeuronGroup(
        2, "dv/dt = (2 - v) / (9*ms) : 1", threshold="v > 1", reset="v = 0", method="exact", name="cells"
    )
    edge = brian2.Synapses(cells, cells, on_pre="v += 0.1", name="edge")
    edge.connect()
    network = brian2.Network(cells, edge)
    with pytest.raises(Unsupported, match="put resets before synapses"):
        from_brian2(network, STEPS)
    network.schedule = ["start", "groups", "thresholds", "resets", "synapses", "end"]
    assert from_brian2(network, STEPS).network.synapses == 4


def test_only_the_membrane_may_stand_still():
    """Brian2 freezes flagged currents too, and loses spikes in the step of the neuron's own."""
    equations = """dv/dt = (g - z - v) / (10*ms) : 1 (unless refractory)
    dg/dt = -g / (5*ms) : 1 {g}
    dz/dt = -z / (30*ms) : 1 {z}"""
    flag = "(unless refractory)"

    def network(refractory, **flags):
        flags = {"g": "", "z": ""} | flags
        cells = brian2.NeuronGroup(
            2, equations.format(**flags), threshold="v > 1", reset="v = 0; z += 1", method="exact", name="cells",
            refractory=refractory,
        )  # fmt: skip
        return brian2.Network(cells)

    for given, flags, name in ((2 * ms, {"g": flag}, "g"), (0 * ms, {"g": flag}, "g"), (2 * ms, {"z": flag}, "z")):
        with pytest.raises(Unsupported, match=f"'cells': {name} stands still while refractory; only the membrane may"):
            from_brian2(network(given, **flags), STEPS)
    assert from_brian2(network(0.1 * ms, z=flag), STEPS).network["cells"].size == 2


def test_statements_over_two_lines_are_refused():
    cells = brian2.NeuronGroup(2, "v : 1", threshold="v > 1", reset="v = (0 +\n 0)", name="cells")
    lines = brian2.SpikeGeneratorGroup(1, [0], [0] * ms)
    other = brian2.NeuronGroup(2, "v : 1", threshold="v > 1", reset="v = 0", name="other")
    edge = brian2.Synapses(lines, other, on_pre="v_post += (1 +\n 1)", name="edge")
    edge.connect()
    with pytest.raises(Unsupported) as caught:
        from_brian2(brian2.Network(cells, lines, other, edge), STEPS)
    assert "NeuronGroup 'cells': reset: `(0 +` is no expression; write each statement on one line" in str(caught.value)
    assert "Synapses 'edge': `(1 +` is no expression" in str(caught.value)


def test_a_user_s_e_is_no_other_than_brian2_s():
    rng = np.random.default_rng(5)
    cells = brian2.NeuronGroup(
        20, "dv/dt = (g - v) / (10*ms) : 1\ndg/dt = -g / (e * 2*ms) : 1", threshold="v > 1 / N * e", reset="v = 0",
        method="exact", name="cells", namespace={"e": 50.0},
    )  # fmt: skip
    source = lines(rng)
    assert_same([source, cells, wire(source, cells, rng, "g_post += w / N_post * e", 9.0, "entering")], cells)


def test_a_network_without_neurons():
    with pytest.raises(BadInput, match="no NeuronGroup"):
        from_brian2(brian2.Network(brian2.PoissonGroup(2, 9 * Hz)), STEPS)
