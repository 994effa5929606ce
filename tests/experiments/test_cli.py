"""The command as a user types it: output, exit codes, errors without tracebacks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments import cli
from experiments.datasets.digits import digits_cnn

QUICK = ("--chips", "loihi2", "--devices", "eyeriss_v1", "--samples", "24")


@pytest.fixture(scope="module", autouse=True)
def trained():
    digits_cnn(progress=False)


@pytest.fixture
def call(neuro, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return neuro


def model(path: Path, *nodes, weights: dict[str, np.ndarray], outputs: int = 3) -> Path:
    """An ONNX file that reads [1, 64]."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_json_is_one_object_and_nothing_else_and_the_record_is_there(call, tmp_path):
    code, out, err = call("compare", "digits-cnn", "--json", *QUICK)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {"network", "items", "scenario", "accuracy", "codes", "arms", "verdict", "record"} <= set(found)
    assert found["items"] == 24
    assert Path(found["record"]).is_file()
    assert Path(found["record"]).parent == Path("runs")
    assert not list(tmp_path.rglob("*.part"))


def test_the_table_says_who_wins_and_where_the_record_is(call, tmp_path):
    code, out, _ = call("compare", "digits-cnn", *QUICK, "--out", tmp_path / "r.h5")
    assert code == 0
    assert "0 mismatches" in out
    assert "on energy the spiking network" in out or "on energy either" in out
    assert str(tmp_path / "r.h5") in out
    code, out, _ = call("report", tmp_path / "r.h5")
    assert code == 0
    assert (tmp_path / "r.html").is_file()


def test_doubling_a_constant_in_its_file_changes_the_energy_by_that_component(call, tmp_path):
    source = Path(cli.__file__).parents[1] / "neuro" / "chips" / "loihi2.toml"
    text = source.read_text(encoding="utf-8")
    old = 'synop_conv = { value = "17 pJ", low = "8 pJ", high = "36 pJ"'
    assert text.count(old) == 1
    changed = tmp_path / "double.toml"
    changed.write_text(text.replace(old, 'synop_conv = { value = "34 pJ", low = "16 pJ", high = "72 pJ"'))
    rest = ("--devices", "eyeriss_v1", "--samples", "24", "--json")
    before, after = (json.loads(call("compare", "digits-cnn", "--chips", c, *rest)[1]) for c in ("loihi2", changed))
    for first, second in zip(before["arms"], after["arms"], strict=True):
        if first["network"] == "spiking" and first["energy_j"]:
            gained = second["nominal_energy_j"] - first["nominal_energy_j"]
            assert gained == pytest.approx(first["components_j"].get("synop_conv", 0.0), rel=1e-4)  # graded has none


@pytest.mark.parametrize("name", ["chips", "devices"])
def test_every_constant_is_printed_with_its_source(call, name):
    code, out, _ = call(name, *(["loihi1"] if name == "chips" else ["eyeriss_v1"]))
    assert code == 0
    assert "source" in out
    assert "basis" in out
    assert ("energy.synop_dense" if name == "chips" else "precision.int16.mac") in out
    code, listed, _ = call(name)
    assert code == 0
    assert ("loihi2" if name == "chips" else "tpu_v4") in listed


def test_a_users_measurements_are_replayed(call, tmp_path):
    (tmp_path / "mine.csv").write_text(
        "case,target,workload,precision,quantity,value,unit\na,edge_tpu,mobilenet_v1,int8,latency,2.4,ms\n"
    )
    code, out, err = call("validate", "--cases", "mine.csv", "--json")
    assert (code, err) == (0, "")
    (case,) = json.loads(out)["cases"]
    assert case["predicted"]["p5"] < 2.4e-3 < case["predicted"]["p95"]
    assert Path(json.loads(out)["record"]).is_file()
    code, out, _ = call("validate", "--cases", "mine.csv")
    assert code == 0
    assert "2.4 ms" in out


def test_a_network_without_a_spiking_form_has_a_price(call):
    code, out, _ = call("price", "bert_large:sequence=64", "--devices", "l4,tpu_v5e,stm32l4r5", "--json")
    assert code == 0
    l4, tpu, mcu = json.loads(out)
    assert l4["latency_s"]["p50"] > 0
    assert tpu["energy_j"]["p50"] > 0
    assert "flash" in mcu["reason"]


def test_this_machine_is_measured(call):
    code, out, _ = call("measure", "digits-cnn", "--seconds", "0.5", "--no-predict", "--platform", "cpu", "--json")
    assert code == 0
    (run,) = json.loads(out)["runs"]
    single = run["single_stream"]
    assert 0 < single["p50_s"] <= single["p90_s"] <= single["p99_s"]
    assert run["threads"] >= 1
    assert single["energy"]["joules"] is not None or single["energy"]["reason"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["compare", "digits-cnnn"], 2, "Did you mean 'digits-cnn'?"),
        (["compare", "missing.onnx", "--data", "digits"], 2, "no such file"),
        (["compare", "digits-cnn", "--data", "digts"], 2, "Did you mean 'digits'?"),
        (["compare", "digits-cnn", "--chips", "loihi3"], 2, "Did you mean 'loihi2'?"),
        (["compare", "digits-cnn", "--devices", "a100"], 2, "Did you mean 'a100_pcie_40gb'?"),
        (["compare", "digits-cnn", "--levels", "0"], 2, "--levels 0 is out of range; give 1 to 255"),
        (["compare", "digits-cnn", "--weight-bits", "99"], 2, "--weight-bits 99 is out of range; give 2 to 8"),
        (["compare", "digits-cnn", "--steps", "0"], 2, "--steps 0 is out of range"),
        (["compare", "digits-cnn", "--seed", "-1"], 2, "--seed -1 is negative"),
        (["compare", "digits-cnn", "--rate", "0"], 2, "--rate 0 must be above zero"),
        (["compare", "digits-cnn", "--samples", "0"], 2, "0 samples"),
        (["compare", "digits-cnn", "--input-levels", "17"], 2, "the data allow 1 to 16"),
        (["compare", "digits-cnn", "--code", "morse"], 2, "morse"),
        (["compare", "digits-cnn", "--code", "bits", "--chips", "loihi1"], 2, "it lacks a membrane that doubles"),
        (["compare", "digits-cnn", "--chips", "loihi2,loihi2"], 2, "loihi2 is named twice"),
        (["compare", "digits-cnn", "--mean", "a,b"], 2, "--mean: 'a,b' is not a list of numbers"),
        (["compare", "digits-cnn", "--out", "."], 2, "is a folder"),
        (["report", "nothing.h5"], 2, "no such record"),
        (["chips", "loihi9"], 2, "unknown chip 'loihi9'"),
        (["map", "digits-cnn", "--chip", "loihi3"], 2, "Did you mean 'loihi2'?"),
        (["map", "digits-cnnn", "--chip", "loihi2"], 2, "Did you mean 'digits-cnn'?"),
        (["map", "digits-cnn", "--chip", "loihi2", "--out", "a.pdf"], 2, "give it the ending .png"),
        (["map", "digits-cnn"], 2, "--chip"),
        (["devices", "toaster"], 2, "unknown device 'toaster'"),
        (["validate", "--kind", "abacus"], 2, "abacus"),
        (["validate", "--cases", "absent.csv"], 2, "absent.csv: no such file"),
        (["price", "resnet51"], 2, "Did you mean 'resnet50'"),
        (["price", "resnet50", "--batch", "0"], 2, "--batch '0'"),
        (["price", "resnet50", "--precision", "int9"], 2, "unknown precision 'int9'"),
        (["price", "resnet50", "--devices", "l5"], 2, "unknown device 'l5'"),
        (["measure", "digits-cnnn"], 2, "Did you mean 'digits-cnn'?"),
        (["measure", "digits-cnn", "--seconds", "-1"], 2, "seconds"),
        (["dance"], 2, "dance"),
    ],
)
def test_bad_words_give_one_clear_line(call, words, code, message):
    found, out, err = call(*words)
    assert found == code
    assert message in err
    assert err.startswith("neuro: ")
    assert "Traceback" not in err + out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.full((3, 1, 8, 8), np.nan)}, "nan"),
        ({"x": np.zeros((0, 1, 8, 8))}, "at least one item"),
        ({"x": np.arange(4 * 105).reshape(4, 3, 5, 7)}, "do not fit the network's input of (1, 8, 8)"),
        ({"y": np.zeros(3)}, "x"),
    ],
)
def test_bad_data(call, tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    code, _, err = call("compare", "digits-cnn", "--data", tmp_path / "bad.npz")
    assert (code, message in err) == (2, True), err


def test_unsupported_operators_are_listed_all_at_once(call, tmp_path):
    path = model(
        tmp_path / "odd.onnx",
        helper.make_node("Gemm", ["x", "w"], ["a"], name="first", transB=1),
        helper.make_node("Cos", ["a"], ["b"], name="cosine"),
        helper.make_node("Erf", ["b"], ["y"], name="erf"),
        weights={"w": np.ones((3, 64))},
    )
    code, _, err = call("compare", path, "--data", "digits")
    assert code == 3
    assert "Cos 'cosine'" in err
    assert "Erf 'erf'" in err


def test_weights_that_are_not_finite_and_files_cut_short(call, tmp_path):
    weights = np.ones((3, 64))
    weights[1, 2] = np.inf
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="first", transB=1)
    path = model(tmp_path / "inf.onnx", node, weights={"w": weights})
    code, _, err = call("compare", path, "--data", "digits")
    assert code == 2
    assert "'first'" in err
    assert "infinite" in err
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[:-100])
    code, _, err = call("compare", cut, "--data", "digits")
    assert code == 2
    assert "cut.onnx" in err


def test_a_network_that_does_not_fit_names_limit_need_and_remedy(call, tmp_path):
    rng = np.random.default_rng(0)
    path = model(
        tmp_path / "wide.onnx",
        helper.make_node("Gemm", ["x", "a"], ["h"], name="wide", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "b"], ["y"], name="last", transB=1),
        weights={"a": rng.normal(size=(6000, 64)), "b": rng.normal(size=(10, 6000))},
        outputs=10,
    )
    code, _, err = call("compare", path, "--data", "digits", "--chips", "loihi2", "--samples", 8)
    assert code == 2
    assert "no chip can run this network" in err
    assert re.search("a neuron of layer 'output' hears 6,000 axons in; a core of loihi2 allows 4,096", err)


def test_a_run_that_is_killed_leaves_the_last_good_record(call, tmp_path):
    record = tmp_path / "r.h5"
    assert call("compare", "digits-cnn", *QUICK, "--out", record)[0] == 0
    good = record.read_bytes()
    command = [sys.executable, "-c", "from experiments.cli import main; main()", "compare", "digits-cnn"]
    with pytest.raises(subprocess.TimeoutExpired):  # which kills it
        subprocess.run([*command, "--out", str(record)], capture_output=True, timeout=6, check=False)
    assert record.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]


@pytest.fixture
def small(tmp_path):
    """12 hidden neurons and 3 outputs behind the 64 inputs."""
    rng = np.random.default_rng(3)
    return model(
        tmp_path / "small.onnx",
        helper.make_node("Gemm", ["x", "a"], ["h"], name="hidden", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "b"], ["y"], name="last", transB=1),
        weights={"a": rng.normal(size=(12, 64)), "b": rng.normal(size=(3, 12))},
    )


def test_a_map_is_printed_and_drawn(call, small, tmp_path):
    code, out, _ = call("map", small, "--chip", "loihi2", "--data", "digits")
    assert code == 0
    assert re.match(r"small on loihi2, bits code \(native\): \d+ of 128 cores\n", out)
    assert "bound" in out
    picture = tmp_path / "runs" / "map-small-loihi2.png"
    assert f"figure: {picture.relative_to(tmp_path)}" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_map_is_cut_for_what_is_asked(call, small):
    """The fewest cores are one for each of three layers; for the shortest step there are more, and they do less."""
    told = {}
    for objective in ("cores", "step"):
        words = ("map", small, "--chip", "loihi2", "--data", "digits", "--objective", objective)
        told[objective] = json.loads(call(*words, "--json")[1])
        assert told[objective]["objective"] == objective
    assert told["cores"]["cores"] == 3 < told["step"]["cores"]
    assert told["step"]["busiest_core_s"] < told["cores"]["busiest_core_s"]
    _, out, _ = call(*words)
    assert re.match(r"small on loihi2, .* of 128 cores, cut for the shortest step\n", out)


def test_nothing_is_cut_on_a_chip_that_is_only_priced(call, small):
    code, out, error = call("map", small, "--chip", "akida", "--data", "digits", "--objective", "step")
    assert (code, out) == (2, "")
    assert "akida is only priced, no core of it is mapped" in error


def test_items_run_one_by_one_where_memory_is_short(call):
    words = ("digits-cnn", "--code", "bits", "--chips", "loihi2", "--devices", "eyeriss_v1", "--samples", "3", "--json")
    all_, few = (json.loads(call("compare", *words, *more)[1]) for more in ((), ("--memory", "1kB")))
    assert all_["arms"] == few["arms"]
    code, out, _ = call("convert", "digits-cnn", "--samples", "3", "--memory", "1kB", "--json")
    assert code == 0
    assert json.loads(out)["equivalence"]["mismatches"] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2")  # it calls pyparsing by names of old
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing")
def test_a_network_out_of_a_script_is_mapped(call, tmp_path):
    (tmp_path / "model.py").write_text(
        "import brian2 as b2\n"
        "b2.prefs.codegen.target = 'numpy'\n"
        "a = b2.SpikeGeneratorGroup(1, [0, 0], [0, 1] * b2.ms)\n"
        "c = b2.NeuronGroup(2, 'dv/dt = -v / (10*ms) : 1', threshold='v > 1', reset='v = 0', method='exact')\n"
        "s = b2.Synapses(a, c, on_pre='v += 2')\n"
        "s.connect()\n"
        "net = b2.Network(a, c, s)\n"
    )
    code, out, _ = call("map", "model.py:net", "--chip", "loihi1", "--duration", 0.002, "--objective", "step", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["network"], found["objective"]) == ("model", "step")
    assert sum(row["events"]["spike"] for row in found["layers"].values()) == 2 + 4
    assert (tmp_path / "runs" / "map-model-loihi1.png").is_file()
    code, _, err = call("map", "model.py:net", "--chip", "loihi1", "--levels", 7)
    assert code == 2
    assert "brings its own input and form" in err
    code, _, err = call("map", "digits-cnn", "--chip", "loihi1", "--duration", 1)
    assert code == 2
    assert "--duration is for SCRIPT.py:NAME" in err


def test_a_map_as_json_is_one_object(call, small, tmp_path):
    words = ("map", small, "--chip", "speck", "--data", "digits", "--json", "--out", tmp_path / "a.png", "--steps", 8)
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["code"], found["cores"], found["figure"]) == ("rate", 3, str(tmp_path / "a.png"))
    assert [row["layers"] for row in found["rows"]] == [["x"], ["relu"], ["output"]]


def test_a_chip_that_cannot_run_a_network_says_why_and_runs_it_on_request(call, small):
    words = ("map", small, "--chip", "odin", "--data", "digits", "--steps", 8)
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert "does not run on odin" in err
    assert err.count("lacks reset by subtraction") == 3  # under each of the three codes
    code, out, _ = call(*words, "--allow-violations")
    assert code == 0
    assert "violated: odin lacks reset by subtraction" in out


def test_faults_of_a_chip_file_are_printed(call, tmp_path):
    text = (Path(cli.__file__).parents[1] / "neuro" / "chips" / "loihi2.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('name = "loihi2"', 'name = "mine"', 1))
    assert call("chips", "mine.toml")[0] == 0
    old = 'synop_conv = { value = "17 pJ", low = "8 pJ", high = "36 pJ"'
    (tmp_path / "mine.toml").write_text(text.replace(old, 'synop_conv = { value = "17 J", low = "8 J", high = "36 J"'))
    code, out, err = call("chips", "mine.toml")
    assert code == 2
    assert "energy.synop_conv" in out  # what was read is shown all the same
    assert re.search(r"energy\.synop_conv: .* is a prefix wrong\?", err)


KEEPS = """
import sys
from experiments import cli
sys.argv = ["neuro", "--version"]
try:
    cli.main()
except SystemExit:
    pass
import jax
jax.jit(lambda x: jax.numpy.sort(x) @ x)(jax.numpy.arange(9.0)).block_until_ready()
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("told", [None, "mine"])
def test_programs_of_xla_are_kept_between_commands_unless_jax_was_told(tmp_path, told):
    settings = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    settings |= {"NEURO_CACHE": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    if told:
        settings["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / told)
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", KEEPS], env=settings, capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        folder = Path(ran.stdout.splitlines()[-1])
        kept = list(folder.glob("jit__lambda*-cache"))
        assert len(kept) == 1  # the second command reads what the first one wrote
    assert folder == tmp_path / told if told else folder.parent == tmp_path / "cache"


def test_a_closed_pipe_ends_quietly():
    """More than a pipe holds, and nobody who reads it."""
    code = "import sys; from experiments import cli; cli.app.command(lambda: print('x' * 10**6), name='much'); "
    code += "sys.argv = ['neuro', 'much']; cli.main()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_options_that_cannot_be_used_are_named(call):
    code, _, err = call("compress", "digits-cnn", "--prune", "0.5", "--rate", "nan")
    assert code == 2
    assert "--rate nan: give a finite rate" in err


def test_a_map_averages_as_many_items_as_asked(call, tmp_path):
    words = ("map", "digits-cnn", "--chip", "loihi2", "--out", tmp_path / "map.png", "--json")
    found = [json.loads(call(*words, *more)[1])["packets"] for more in ((), ("--samples", 16), ("--samples", 1))]
    assert found[0] == found[1] != found[2]
