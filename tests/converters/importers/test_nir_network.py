"""NIR files that the commands open: our own exports, binary networks of others, and what is refused, all of it."""

import json

import numpy as np
import pytest

from converters.importers import nir_network
from converters.network_file import Converted
from experiments import cli
from experiments.conversion.convert import Task, carry_out
from experiments.conversion.export import Export
from experiments.conversion.export import carry_out as export
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph, digest
from neuro.layers import AvgPool

nir = pytest.importorskip("nir")
ONES = np.ones(2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled network converted and written as NIR, and what its conversion said."""
    folder = tmp_path_factory.mktemp("nir")
    _, summary = carry_out(Task("digits-cnn", samples=60, out=folder / "n.h5"))
    export(Export(str(folder / "n.h5"), to=folder / "n.nir", items=4))
    return folder / "n.nir", summary


def write(path, nodes: dict, edges: list, metadata: dict | None = None) -> None:
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata or {}, type_check=False))


def chain(path, *nodes, entering=(2,), leaving=(2,)) -> None:
    named = {"in": nir.Input(input_type=np.array(entering))} | {f"n{i}": node for i, node in enumerate(nodes)}
    named["out"] = nir.Output(output_type=np.array(leaving))
    write(path, named, list(zip(list(named)[:-1], list(named)[1:], strict=True)))


def test_our_export_is_the_same_network(exported):
    """The same integers, equal under the spike code, the same accuracy in the same units, nothing quantised again."""
    path, first = exported
    done, again = carry_out(Task(str(path), data="digits", samples=60))
    same = ("digest", "equivalence", "levels", "weight_bits", "spikes_per_neuron", "synops", "steps", "neurons")
    assert [again[k] for k in same] == [first[k] for k in same]
    assert again["equivalence"]["mismatches"] == 0
    assert again["format"] == "nir"
    assert set(again["accuracy"].values()) == {first["accuracy"]["spiking"]}  # its float form gives the same values
    np.testing.assert_allclose(done.values["float"], done.values["spiking"], rtol=1e-5, atol=1e-5)
    with pytest.raises(BadInput, match="stand for other values"):
        carry_out(Task(str(path), data="digits", samples=60, scale=2.0))


def test_our_export_is_mapped_and_priced(exported, tmp_path, capsys):
    path, first = exported
    common = [str(path), "--data", "digits", "--samples", "20", "--json"]
    cli.app(["map", *common, "--chip", "loihi2", "--out", str(tmp_path / "m.png")], result_action="return_value")
    assert json.loads(capsys.readouterr().out)["chip"] == "loihi2"
    cli.app(
        ["compare", *common, "--chips", "loihi2", "--devices", "stm32h7a3", "--out", str(tmp_path / "r.h5")],
        result_action="return_value",
    )
    found = json.loads(capsys.readouterr().out)
    assert {c["mismatches"] for c in found["codes"] if c["exact"]} == {0}
    assert any(a["name"].startswith("loihi2/spiking") and a["energy_j"]["p50"] > 0 for a in found["arms"] if a["fits"])
    assert first["accuracy"]["spiking"] == pytest.approx(found["accuracy"]["integer"], abs=0.1)


def test_an_export_that_does_not_say_what_counts_stand_for(exported, tmp_path):
    path, _ = exported
    for change, message in (("gain", "does not say"), ("scale", "damaged"), ("code", "damaged")):
        graph = nir.read(path, type_check=False)
        if change == "scale":
            del next(n for n in graph.nodes.values() if isinstance(n, nir.IF)).metadata["scale"]
        elif change == "gain":
            del graph.metadata["gain"]
        else:
            graph.metadata["code"] = "semaphore"
        nir.write(tmp_path / "n.nir", graph)
        with pytest.raises(BadInput, match=message):
            nir_network.load(tmp_path / "n.nir")


def test_a_binary_network_without_state(tmp_path):
    """Threshold neurons fire above their threshold, so that they are steps; two edges into a node are a sum."""
    rng = np.random.default_rng(2)
    first, second = rng.integers(-2, 3, (2, 4, 5))
    last = rng.integers(-3, 4, (3, 4))
    nodes = {
        "in": nir.Input(input_type=np.array([5])), "a": nir.Linear(weight=first), "b": nir.Linear(weight=second),
        "t": nir.Threshold(threshold=np.array([0.0, 1.0, 2.0, -1.0])),
        "c": nir.Affine(weight=last, bias=np.array([0.5, 0.0, -0.5])), "out": nir.Output(output_type=np.array([3])),
    }  # fmt: skip
    write(tmp_path / "n.nir", nodes, [("in", "a"), ("in", "b"), ("a", "t"), ("b", "t"), ("t", "c"), ("c", "out")])
    graph = nir_network.load(tmp_path / "n.nir")
    assert isinstance(graph, Graph)
    x = rng.integers(-2, 3, (40, 5)).astype(np.float32)
    sums = x @ first.T + x @ second.T
    assert (sums == [0, 1, 2, -1]).sum() > 5  # on the threshold, where they do not fire
    (got,) = evaluator(graph, (graph.output.name,))(x)
    np.testing.assert_array_equal(got, (sums > [0, 1, 2, -1]) @ last.T + [0.5, 0.0, -0.5])


def test_a_binary_network_is_converted_with_one_level(tmp_path):
    rng = np.random.default_rng(3)
    conv = nir.Conv2d(
        input_shape=(8, 8), weight=rng.integers(-1, 2, (3, 1, 3, 3)).astype(float), stride=1, padding=1, dilation=1,
        groups=1, bias=np.zeros(3),
    )  # fmt: skip
    chain(
        tmp_path / "n.nir", conv, nir.Threshold(threshold=np.full((3, 8, 8), 1.5)),
        nir.Flatten(input_type={"input": np.array([3, 8, 8])}, start_dim=0, end_dim=-1),
        nir.Linear(weight=rng.integers(-3, 4, (10, 192)).astype(float)), entering=(1, 8, 8), leaving=(10,),
    )  # fmt: skip
    done, summary = carry_out(Task(str(tmp_path / "n.nir"), data="digits", samples=50))
    assert (summary["levels"], summary["equivalence"]["mismatches"]) == ([1], 0)
    np.testing.assert_allclose(done.values["spiking"], done.values["float"], atol=1e-4)


def test_sums_of_windows(tmp_path):
    pool = nir.SumPool2d(kernel_size=np.array([2, 1]), stride=np.array([2, 1]), padding=np.array([0, 0]))
    chain(tmp_path / "n.nir", pool, nir.Threshold(threshold=np.full((1, 2, 3), 2.0)), entering=(1, 4, 3), leaving=())
    graph = nir_network.load(tmp_path / "n.nir")
    assert isinstance(graph, Graph)
    assert isinstance(graph["n0.0"].op, AvgPool)
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 4, 3) / 3
    (got,) = evaluator(graph, (graph.output.name,))(x)
    assert got.tolist() == [[[[0, 0, 1], [1, 1, 1]]]]  # 0 + 1, 1/3 + 4/3, 2/3 + 5/3, ...


def test_what_has_no_exact_form_is_listed_whole(tmp_path):
    lif = nir.LIF(tau=ONES, r=ONES, v_leak=ONES, v_threshold=ONES)
    uneven = nir.Threshold(threshold=np.array([[1.0, 2.0], [1.0, 1.0]]))
    chain(tmp_path / "n.nir", nir.IF(r=ONES, v_threshold=ONES), lif, nir.Delay(delay=ONES), uneven)
    with pytest.raises(Unsupported, match="have no exact spiking form") as error:
        nir_network.load(tmp_path / "n.nir")
    assert [(r.layer, r.op) for r in error.value.refusals] == [
        ("n0", "IF"), ("n1", "LIF"), ("n2", "Delay"), ("n3", "Threshold"),
    ]  # fmt: skip


def test_loops_are_refused(tmp_path):
    nodes = {
        "in": nir.Input(input_type=np.array([2])), "t": nir.Threshold(threshold=ONES),
        "w": nir.Linear(weight=np.eye(2)), "out": nir.Output(output_type=np.array([2])),
    }  # fmt: skip
    write(tmp_path / "n.nir", nodes, [("in", "t"), ("t", "w"), ("w", "t"), ("t", "out")])
    with pytest.raises(Unsupported, match="a loop"):
        nir_network.load(tmp_path / "n.nir")


@pytest.mark.parametrize("command", ["convert", "compare", "map"])
def test_published_networks_are_refused_by_every_command(neuro_data, command, capsys):
    path = neuro_data / "models/nir/nir_braille_noDelay_noBias_subtract.nir"
    extra = ["--chip", "loihi2"] if command == "map" else []
    with pytest.raises(Unsupported) as error:
        cli.app([command, str(path), "--data", "digits", "--json", *extra], exit_on_error=False)
    assert error.value.exit_code == 3
    told = json.loads(capsys.readouterr().out)["unsupported"]
    assert [(layer["layer"], layer["op"]) for layer in told] == [("lif1.lif", "CubaLIF"), ("lif2", "CubaLIF")]
    assert "a loop" in told[0]["reason"]


def test_digest_and_levels_survive_the_file(exported):
    path, first = exported
    found = nir_network.load(path)
    assert isinstance(found, Converted)
    assert digest(found.integer.graph) == first["digest"]
    assert (found.levels, found.code, found.method) == (first["input_levels"], "bits", "exact")
