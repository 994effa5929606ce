"""NIR files as stepped networks: hand-made graphs, published networks, damaged files."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.importers import from_nir
from experiments.datasets import events
from neuro.errors import BadInput, Unsupported
from neuro.layers import AvgPool, Conv, Dense, Reshape, SumPool
from neuro.stepped import Stepped, decisions, run, steps

nir = pytest.importorskip("nir")
ONES = np.ones(2)


def write(path, nodes: dict, edges: list) -> None:
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges, metadata={}, type_check=False))


def chain(path, *nodes, entering=(2,), leaving=(2,)) -> None:
    named = {"in": nir.Input(input_type=np.array(entering))} | {f"n{i}": node for i, node in enumerate(nodes)}
    named["out"] = nir.Output(output_type=np.array(leaving))
    write(path, named, list(zip(list(named)[:-1], list(named)[1:], strict=True)))


def load(path, **options) -> Stepped:
    found = from_nir.load(path, **options)
    assert isinstance(found, Stepped)
    return found


def test_an_if_neuron_fires_above_its_threshold_only(tmp_path):
    chain(tmp_path / "n.nir", nir.IF(r=np.array([1.0, 2.0]), v_threshold=3 * ONES))
    found = [v["n0"].tolist() for v in steps(load(tmp_path / "n.nir"), np.ones((1, 4, 2)))]
    assert found == [[[0, 0]], [[0, 1]], [[0, 0]], [[1, 1]]]  # 1 2 3 4; 2 4
    soft = run(load(tmp_path / "n.nir", reset="soft"), np.ones((1, 8, 2)))
    assert soft["n0"].tolist() == [[2, 5]]  # 1 2 3 4>1 2 3 4; 2 4>1 3 5>2 4>1 3 5>2 4>1


def test_lif_and_cuba_by_their_equations(tmp_path):
    lif = nir.LIF(tau=ONES * 0.01, r=ONES * 3, v_leak=np.array([0.0, 0.5]), v_threshold=ONES * 99)
    cuba = nir.CubaLIF(
        tau_syn=ONES * 0.004, tau_mem=ONES * 0.01, r=ONES * 2, v_leak=ONES * 0, v_threshold=ONES * 1.0, w_in=ONES * 5
    )
    chain(tmp_path / "l.nir", lif, nir.LI(tau=ONES * 0.01, r=ONES, v_leak=ONES * 0.2))
    net = load(tmp_path / "l.nir", dt=0.001)
    v = np.zeros(2)
    for values in steps(net, np.zeros((1, 20, 2))):
        v = 0.9 * v + 0.1 * 0.2
        np.testing.assert_allclose(values["n1"][0], v)
    chain(tmp_path / "c.nir", cuba)
    frames = np.random.default_rng(0).random((1, 60, 2)) < 0.3
    current, v, wanted = np.zeros(2), np.zeros(2), []
    for s in frames[0]:
        current = 0.75 * current + 0.25 * 5 * s
        v = 0.9 * v + 0.1 * 2 * current
        wanted.append(v > 1)
        v = np.where(v > 1, 0, v)
    got = [values["n0"][0] for values in steps(load(tmp_path / "c.nir", dt=0.001), frames.astype(float))]
    assert np.sum(wanted) > 3
    np.testing.assert_array_equal(got, wanted)


def test_every_linear_node(tmp_path):
    rng = np.random.default_rng(1)
    conv = nir.Conv2d(
        input_shape=(6, 6), weight=rng.normal(size=(4, 1, 3, 3)), stride=(1, 2), padding=(1, 0), dilation=1, groups=2,
        bias=rng.normal(size=4),
    )  # fmt: skip
    pools = [kind(kernel_size=np.array([2, 1]), stride=np.array([2, 1]), padding=np.array([0, 0])) for kind in (
        nir.SumPool2d, nir.AvgPool2d)]  # fmt: skip
    flat = nir.Flatten(input_type={"input": np.array([4, 1, 2])}, start_dim=0, end_dim=-1)
    dense = nir.Affine(weight=rng.normal(size=(3, 8)), bias=rng.normal(size=3))
    last = nir.Threshold(threshold=np.zeros(3))
    chain(tmp_path / "n.nir", conv, *pools, flat, dense, last, entering=(2, 6, 6), leaving=(3,))
    net = load(tmp_path / "n.nir")
    assert [type(x.op) for x in net.layers[:-1]] == [Conv, SumPool, AvgPool, Reshape, Dense]
    x = rng.normal(size=(5, 1, 2, 6, 6))
    (values,) = steps(net, x)
    torch = pytest.importorskip("torch")
    t = torch.tensor(x[:, 0])
    t = torch.nn.functional.conv2d(t, torch.tensor(conv.weight), torch.tensor(conv.bias), (1, 2), (1, 0), 1, 2)
    t = torch.nn.functional.avg_pool2d(2 * torch.nn.functional.avg_pool2d(t, (2, 1)), (2, 1)).flatten(1).numpy()
    np.testing.assert_allclose(values["n4"], t @ dense.weight.T + dense.bias, atol=1e-5)
    np.testing.assert_array_equal(values["n5"], values["n4"] > 0)


def test_nodes_that_have_no_form_are_all_listed(tmp_path):
    chain(
        tmp_path / "n.nir",
        nir.Delay(delay=ONES),
        nir.IF(r=ONES, v_threshold=ONES, v_reset=ONES * 0.5),
        nir.LIF(tau=ONES * 1e-6, r=ONES, v_leak=ONES, v_threshold=ONES),
    )
    with pytest.raises(Unsupported, match="smaller dt") as error:
        from_nir.load(tmp_path / "n.nir")
    assert [(r.layer, r.op) for r in error.value.refusals] == [("n0", "Delay"), ("n1", "IF"), ("n2", "LIF")]


def test_published_cnn_classifies_its_recordings(neuro_data):
    net = load(neuro_data / "models/nir/nir_scnn_sinabs_nmnist.nir")
    labelled, _ = events.recordings(neuro_data)
    frames = np.stack([events.frames(e, 310, 1000) for e in labelled.values()]).astype(float)
    assert decisions(net, frames).tolist() == list(labelled)  # nine of nine


def test_lif_reference(neuro_data):
    """The NIR paper's one neuron at 0.1 ms: input, membrane before its reset, and spikes of Norse."""
    net = load(neuro_data / "models/nir/nir_lif_norse.nir", dt=1e-4)
    entering, voltage, spikes = np.genfromtxt(neuro_data / "models/nir/lif_reference/lif_norse.csv", delimiter=",").T
    got = np.array([values["1"][0, 0] for values in steps(net, entering.reshape(1, -1, 1))])
    np.testing.assert_array_equal(got, spikes)
    assert got.sum() == 4
    assert voltage.max() < 0.1  # of the threshold


def test_recurrent_network_runs(neuro_data):
    net = load(neuro_data / "models/nir/nir_braille_noDelay_noBias_subtract.nir", reset="soft")
    assert [x.name for x in net.populations] == ["lif1.lif", "lif2"]
    (first,) = (x for x in net.layers if x.name == "lif1.lif")
    assert set(first.inputs) == {"fc1", "lif1.w_rec"}
    frames = (np.random.default_rng(0).random((2, 50, 12)) < 0.2).astype(float)
    assert run(net, frames)["lif1.lif"].sum() > 0


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "n.nir"
    chain(path, nir.Affine(weight=np.ones((2, 2)), bias=ONES), nir.IF(r=ONES, v_threshold=ONES))
    return path


@settings(max_examples=12)
@given(at=st.floats(0, 1), cut=st.booleans(), value=st.integers(0, 255))
def test_damaged_files_give_an_error_or_are_read(content, at, cut, value):
    data = bytearray(content.read_bytes())
    place = int(at * (len(data) - 1))
    data[place] = value
    path = content.with_name("damaged.nir")
    path.write_bytes(data[:place] if cut else data)
    with contextlib.suppress(BadInput, Unsupported):
        from_nir.load(path)


def test_what_is_no_nir_file(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        from_nir.load(tmp_path / "n.nir")
    (tmp_path / "n.nir").write_bytes(b"no")
    with pytest.raises(BadInput, match="HDF5"):
        from_nir.load(tmp_path / "n.nir")
