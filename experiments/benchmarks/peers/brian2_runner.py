"""Brian2 on W3, as generated C++ that runs by itself, as Cython or as NumPy; run by `protocol` in its environment."""

import tempfile
from importlib.metadata import version

import brian2 as b2
import numpy as np

EQUATIONS = """
dv/dt = (ge + gi - (v - rest)) / membrane : volt (unless refractory)
dge/dt = -ge / excited : volt
dgi/dt = -gi / inhibited : volt
"""


def network(z: dict, steps: int) -> tuple:
    """The network with a monitor of spikes, and for how long it runs."""
    ms, mV = b2.ms, b2.mV  # noqa: N806 units are written so
    b2.defaultclock.dt = float(z["dt"]) * ms
    membrane, excited, inhibited = (float(tau) * ms for tau in z["tau"])
    threshold, reset, rest = (float(level) * mV for level in z["levels"])
    names = {
        "membrane": membrane, "excited": excited, "inhibited": inhibited, "rest": rest, "reset_to": reset,
        "threshold_at": threshold, "we": float(z["we"]) * mV, "wi": float(z["wi"]) * mV,
    }  # fmt: skip
    neurons = b2.NeuronGroup(
        int(z["N"]), EQUATIONS, threshold="v > threshold_at", reset="v = reset_to", method="exact",
        refractory=int(z["refractory"]) * float(z["dt"]) * ms, namespace=names,
    )  # fmt: skip
    neurons.v = z["v0"] * mV
    source, target = np.repeat(np.arange(int(z["N"])), np.diff(z["indptr"])), z["indices"]
    parts = []
    for effect, mine in (("ge_post += we", source < int(z["NE"])), ("gi_post += wi", source >= int(z["NE"]))):
        synapses = b2.Synapses(neurons, neurons, on_pre=effect, delay=float(z["dt"]) * ms, namespace=names)
        synapses.connect(i=source[mine], j=target[mine])
        parts.append(synapses)
    monitor = b2.SpikeMonitor(neurons)
    return b2.Network(neurons, *parts, monitor), monitor, steps * float(z["dt"]) * ms


def checked(monitor, z: dict) -> list[np.ndarray]:
    """Spikes of every neuron and of every step in the steps that are compared."""
    step = np.rint(np.asarray(monitor.t / b2.ms) / float(z["dt"])).astype(int)
    early = step < int(z["checked"])
    of_neuron = np.bincount(np.asarray(monitor.i)[early], minlength=int(z["N"]))
    return [of_neuron[None], np.bincount(step[early], minlength=int(z["checked"]))[None]]


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner. The C++ program keeps its own time: its loop, without start and files."""
    with np.load(path) as f:
        z = {key: f[key] for key in f.files}
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-O3", "-march=native", "-ffast-math"]
    if name == "brian2_standalone":
        folder = tempfile.mkdtemp(prefix="brian2_standalone_")
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        net, monitor, duration = network(z, int(z["T"]))
        net.run(duration)
        b2.device.build(directory=folder, compile=True, run=True, debug=False)

        def run() -> float:
            b2.device.run(directory=folder, with_output=False, run_args=[])
            return float(b2.device._last_run_time)

    else:
        b2.prefs.codegen.target = name.split("_")[-1]
        net, monitor, duration = network(z, int(z["T"]))
        net.store()

        def run() -> None:
            net.restore()
            net.run(duration)

    return run, lambda: checked(monitor, z), version("brian2")
