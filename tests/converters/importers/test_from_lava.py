"""lava-dl files: Loihi's arithmetic by an integer oracle, the published network, refusals."""

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from converters.importers import from_lava
from experiments.datasets import data
from neuro import codes
from neuro.errors import BadInput, Unsupported
from neuro.stepped import decisions, steps


def neuron(group, kind: str = "CUBA", **values) -> None:
    own = group.create_group("neuron")
    own["type"] = kind
    for key, value in (
        {"iDecay": 1000, "vDecay": 300, "vThMant": 9, "refDelay": 1, "gradedSpike": False} | values
    ).items():
        own[key] = value


def layer(file, number: int, kind: str, **values):
    group = file.create_group(f"layer/{number}")
    group["type"] = np.array([kind.encode()], "S10")
    for key, value in values.items():
        group[key] = value
    return group


def test_loihis_arithmetic(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 12, (5, 7))
    with h5py.File(tmp_path / "n.net", "w") as file:
        neuron(layer(file, 0, "dense", weight=weight.astype(np.float32)))
    net = from_lava.load(tmp_path / "n.net")
    frames = rng.random((1, 80, 7)) < 0.3
    u, v, wanted = np.zeros(5, np.int64), np.zeros(5, np.int64), []
    for s in frames[0]:
        u = np.sign(u) * (np.abs(u) * (4096 - 1000) >> 12) + 64 * (weight @ s)
        v = np.sign(v) * (np.abs(v) * (4096 - 300) >> 12) + u
        wanted.append(v >= 64 * 9)
        v[wanted[-1]] = 0
    got = [values["0.neurons"][0] for values in steps(net, frames.astype(float))]
    assert np.sum(wanted) > 20
    np.testing.assert_array_equal(got, wanted)


def test_convolution_pool_and_flatten(tmp_path):
    pair = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    with h5py.File(tmp_path / "n.net", "w") as file:
        layer(file, 0, "input")
        neuron(layer(file, 1, "conv", weight=np.ones((3, 2, 3, 3)), groups=1, **pair))
        flat = pair | {"stride": [2, 2], "padding": [0, 0]}
        neuron(layer(file, 2, "pool", weight=1.0, kernelSize=[2, 2], **flat))
        layer(file, 3, "flatten")
        neuron(layer(file, 4, "dense", weight=np.ones((2, 12))))
    net = from_lava.load(tmp_path / "n.net", (2, 4, 4))
    assert [net.shapes[x.name] for x in net.populations] == [(3, 4, 4), (3, 2, 2), (2,)]
    with pytest.raises(BadInput, match="shape of its frames"):
        from_lava.load(tmp_path / "n.net")


def test_published_mlp_on_mnist(neuro_data):
    net = from_lava.load(neuro_data / "models/lava/lava_mnist_trained.net")
    digits = data.load("mnist")
    counts = jnp.asarray(digits.counts[:1000].reshape(1000, -1), jnp.float32)
    frames = np.asarray(codes.encode("rate", counts, 255, 32)).swapaxes(0, 1).astype(float)
    assert digits.y is not None
    assert (decisions(net, frames) == digits.y[:1000]).mean() == 0.957


def test_a_membrane_on_its_threshold_fires(tmp_path):
    with h5py.File(tmp_path / "n.net", "w") as file:
        neuron(layer(file, 0, "dense", weight=np.array([[9.0], [8.0]])))
    (values,) = steps(from_lava.load(tmp_path / "n.net"), np.ones((1, 1, 1)))
    assert values["0.neurons"].tolist() == [[1, 0]]


def test_published_oxford_network_spike_by_spike(neuro_data):
    """lava-dl's own spikes are those of `ground_truth`, recorded a step behind each layer; `output` is what the network
    was trained towards. An event is in the step that its time is rounded to, halves to even, and only once."""

    def raster(kind: str) -> np.ndarray:
        events = np.load(neuro_data / f"models/lava/lava_oxford_{kind}.npy")
        made = np.zeros((2000, 200), bool)
        made[np.rint(events[:, 2]).astype(int), events[:, 0].astype(int)] = True
        return made

    net = from_lava.load(neuro_data / "models/lava/lava_oxford.net")
    got = np.array([values["1.neurons"][0] for values in steps(net, raster("input")[None].astype(float))], bool)
    wanted = raster("ground_truth")
    assert wanted.sum() == 10_178
    np.testing.assert_array_equal(got[: 1890 - 2], wanted[2:1890])
    assert (got[: 1890 - 2] != raster("output")[2:1890]).any()


def test_what_has_no_form_is_listed(tmp_path, neuro_data):
    with h5py.File(tmp_path / "n.net", "w") as file:
        neuron(layer(file, 0, "dense", weight=np.ones((2, 3))), "SDNN")
        layer(file, 1, "concat")
        neuron(layer(file, 2, "dense", weight=np.ones((2, 2))), gradedSpike=True)
    with pytest.raises(Unsupported, match="SDNN") as error:
        from_lava.load(tmp_path / "n.net")
    assert [r.layer for r in error.value.refusals] == ["layer/0", "layer/1", "layer/2"]
    with pytest.raises(Unsupported):
        from_lava.load(neuro_data / "models/lava/lava_pilotnet_sdnn.net", (3, 66, 200))


def test_the_commands_refuse_them_with_every_layer(tmp_path, neuro_data):
    for file, op, reason, count in (
        ("lava_mnist_trained", "dense", "their current loses 410/4096 a step and their membrane loses 410/4096", 3),
        ("lava_oxford", "dense", "their membrane loses 415/4096", 2),
        ("lava_pilotnet_sdnn", "input", "changes of 6 or more", 10),
    ):
        with pytest.raises(Unsupported) as error:
            from_lava.refused(neuro_data / f"models/lava/{file}.net")
        assert len(error.value.refusals) == count
        assert (error.value.refusals[0].layer, error.value.refusals[0].op) == ("layer/0", op)
        assert reason in error.value.refusals[0].reason
    with h5py.File(tmp_path / "n.net", "w") as file:
        layer(file, 0, "dense", weight=np.ones((2, 3)))
    with pytest.raises(BadInput, match="no neurons"):
        from_lava.refused(tmp_path / "n.net")
    with h5py.File(tmp_path / "n.net", "w") as file:
        neuron(layer(file, 0, "dense", weight=np.ones((2, 3)), delay=np.ones(2)), "ALIF")
        layer(file, 1, "average", weight=np.ones((2, 3)))
    with pytest.raises(Unsupported) as error:
        from_lava.refused(tmp_path / "n.net")
    assert [r.reason for r in error.value.refusals] == [
        "it has delay; ALIF neurons keep a state from step to step",
        "layers are dense, conv, pool, flatten, input",
    ]


def test_files_without_layers(tmp_path):
    with h5py.File(tmp_path / "n.net", "w") as file:
        file["x"] = 1
    with pytest.raises(BadInput, match="no layers"):
        from_lava.load(tmp_path / "n.net")
