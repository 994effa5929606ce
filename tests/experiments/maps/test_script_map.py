"""A network out of a script is the network that Python would have built, and what goes wrong is said."""

import gc
import sys

import numpy as np
import pytest

from converters.from_brian2 import from_brian2
from experiments.maps.network_map import network_on_chip
from experiments.maps.script_map import script_of, script_on_chip
from neuro.chip import load
from neuro.errors import BadInput, Unsupported

brian2 = pytest.importorskip("brian2")
pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]

SCRIPT = """
import brian2 as b2
from sizes import CELLS

b2.prefs.codegen.target = "numpy"
tau = 20 * b2.ms
noise = b2.PoissonGroup(20, 200 * b2.Hz)
cells = b2.NeuronGroup(CELLS, "dv/dt = -v / tau : 1", threshold="v > 1", reset="v = 0", method="exact")
edges = b2.Synapses(noise, cells, on_pre="v += 0.4")
edges.connect(condition="i % 3 == j % 3")
net = b2.Network(noise, cells, edges)
empty = b2.Network()
square = b2.NeuronGroup(1, "dv/dt = v**2 / tau : 1", threshold="v > 1", reset="v = 0", method="euler")
curved = b2.Network(square)
if __name__ == "__main__":
    raise RuntimeError("run as a program")
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "sizes.py").write_text("CELLS = 30\n")
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    return path


def by_hand():
    noise = brian2.PoissonGroup(20, 200 * brian2.Hz)
    cells = brian2.NeuronGroup(30, "dv/dt = -v / tau : 1", threshold="v > 1", reset="v = 0", method="exact")
    edges = brian2.Synapses(noise, cells, on_pre="v += 0.4")
    edges.connect(condition="i % 3 == j % 3")
    return from_brian2(brian2.Network(noise, cells, edges), 200, 3, {"tau": 20 * brian2.ms})


def test_it_is_what_python_would_have_built(script):
    taken = by_hand()
    wanted = network_on_chip(taken.network, load("loihi1"), taken.inputs, 200, 3)
    found = script_on_chip(script, "net", "loihi1", 0.02, seed=3)
    assert found.placement.name == "model"
    spikes = [sum(float(np.sum(n)) for n in each.spikes.values()) for each in (found, wanted)]
    assert spikes[0] == spikes[1] > 100
    assert {e: float(n) for e, n in found.counts.events.items()} == {
        e: float(n) for e, n in wanted.counts.events.items()
    }


@pytest.mark.parametrize(
    ("name", "duration", "message"),
    [
        ("nett", 0.1, r"no brian2.Network named 'nett'; it has net, empty, curved"),
        ("cells", 0.1, r"no brian2.Network named 'cells'"),
        ("net", 0.0, "a duration of 0 s holds no whole run"),
        ("net", float("inf"), "a duration of inf s holds no whole run"),
        ("net", 1e12, r"50 neurons for 1e\+12 s .* the limit is 4.29e\+09; run at most 8.59e\+03 s"),
        ("empty", 0.1, "the Brian2 network is empty"),
    ],
)
def test_what_cannot_be_mapped_is_said(script, name, duration, message):
    with pytest.raises(BadInput, match=message):
        script_on_chip(script, name, "loihi1", duration)


def test_neurons_without_a_counterpart_are_refused(script):
    with pytest.raises(Unsupported, match="linear between spikes"):
        script_on_chip(script, "curved", "loihi1", 0.1)


def test_errors_of_the_script_are_told(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n")
    with pytest.raises(BadInput, match=r"bad.py ends with ZeroDivisionError"):
        script_on_chip(tmp_path / "bad.py", "net", "loihi1", 0.1)
    with pytest.raises(BadInput, match="no such script"):
        script_on_chip(tmp_path / "none.py", "net", "loihi1", 0.1)
    (tmp_path / "nothing.py").write_text("x = 1\n")
    with pytest.raises(BadInput, match=r"give the objects to brian2\.Network and name the result"):
        script_on_chip(tmp_path / "nothing.py", "net", "loihi1", 0.1)


def alone(tmp_path, text: str):
    path = tmp_path / "alone.py"
    path.write_text(text)
    return path


def test_a_script_that_ends_itself_or_reads_options(tmp_path, monkeypatch):
    """It sees no options of this command, and its end is not the command's."""
    monkeypatch.setattr("sys.argv", ["neuro", "map", "alone.py:net", "--json"])
    script = alone(tmp_path, "import sys\nsys.exit(len(sys.argv) - 1)\n")
    with pytest.raises(BadInput, match=r"alone.py ends itself with sys.exit\(0\); .* behind if __name__"):
        script_on_chip(script, "net", "loihi1", 0.1)
    assert sys.argv[0] == "neuro"


def test_what_a_script_prints_is_kept_apart(tmp_path, capsys):
    with pytest.raises(BadInput, match="leaves no"):
        script_on_chip(alone(tmp_path, "print('hello')\n"), "net", "loihi1", 0.1)
    told = capsys.readouterr()
    assert (told.out, "hello" in told.err) == ("", True)


def test_brian2_s_own_network_is_no_proposal(tmp_path):
    script = alone(tmp_path, "from brian2 import *\n")
    for name in ("net", "magic_network"):
        with pytest.raises(BadInput, match=r"give the objects to brian2\.Network and name the result"):
            script_on_chip(script, name, "loihi1", 0.1)


def test_a_script_for_another_device(tmp_path):
    text = "import brian2\nbrian2.set_device('cpp_standalone', build_on_run=False)\n"
    text += "g = brian2.NeuronGroup(1, 'v : 1')\nnet = brian2.Network(g)\n"
    try:
        for more in ("", "g.v = 'rand()'\nprint(g.v[:])\n"):
            with pytest.raises(BadInput, match=r"remove set_device"):
                script_on_chip(alone(tmp_path, text + more), "net", "loihi1", 0.1)
    finally:
        brian2.device.reinit()
        brian2.set_device("runtime")


def test_brian2_does_not_complain_of_objects_that_are_in_a_network(script):
    from brian2.utils.logger import catch_logs

    gc.collect()  # what other tests left
    with catch_logs() as logs:
        script_on_chip(script, "net", "loihi1", 0.001)
        gc.collect()
    assert [text for _, _, text in logs if "never included" in text and "model.py" in text] == []


def test_which_names_are_scripts():
    found = script_of("some/model.py:net")
    assert found is not None
    assert (str(found[0]), found[1]) == ("some/model.py", "net")
    for other in ("digits-cnn", "model.onnx", "model.py", "model.py:", "model.py:a.b"):
        assert script_of(other) is None
