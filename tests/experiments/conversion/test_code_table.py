"""The table of codes and chips: what it holds, that capabilities alone fill it, and what is printed."""

import json

import pytest

from experiments.conversion.code_table import METHODS, WORDS, cost, print_table, table
from neuro.chip import known, load
from neuro.codes import CODES, is_exact


@pytest.fixture(scope="module")
def found():
    return table()


def test_every_code_and_every_chip_has_its_row(found):
    assert json.loads(json.dumps(found)) == found
    assert [code["code"] for code in found["codes"]] == list(CODES) == list(WORDS)
    assert {c["code"]: c["steps"] for c in found["codes"]} == {
        "unary": 15, "bits": 4, "naf": 5, "ttfs": 15, "graded": 1, "rate": 64,
    }  # fmt: skip
    assert {c["code"] for c in found["codes"] if c["exact"]} == set(filter(is_exact, CODES))
    assert [chip["chip"] for chip in found["chips"]] == known()
    for chip in found["chips"]:
        for row in chip["codes"].values():
            assert ("missing" in row) == (row["status"] == "impossible")


def test_the_mapped_chips(found):
    status = {c["chip"]: [c["codes"][code]["status"] for code in CODES] for c in found["chips"]}
    assert CODES == ("unary", "bits", "naf", "ttfs", "graded", "rate")
    assert status["loihi1"] == ["gadget", "impossible", "impossible", "gadget", "impossible", "gadget"]
    assert status["loihi2"] == ["native"] * 4 + ["gadget", "native"]
    assert status["spinnaker2"] == status["generic"] == ["native"] * 6
    assert status["speck"] == ["impossible"] * 5 + ["native"]


def test_gadgets_say_what_they_take(found):
    loihi1, loihi2 = ({c["chip"]: c for c in found["chips"]}[name]["codes"] for name in ("loihi1", "loihi2"))
    assert cost(loihi1["unary"]) == "2 compartments a neuron, 4 clock axons a core, 0 steps more"
    assert cost(loihi1["ttfs"]) == (
        "2 compartments a neuron, 10 clock axons a core, 2 spikes, axons and synapses for one, 0 steps more"
    )
    assert cost(loihi2["graded"]) == "4 subtractions in an update, 0 steps more"
    assert (loihi2["ttfs"]["slots"], loihi2["naf"]["synapse"]) == (3, "synop_graded")


def test_a_name_decides_nothing():
    chip = load("loihi1").model_copy(update={"name": "loihi2"})
    assert table([chip])["chips"][0]["codes"] == table([load("loihi1")])["chips"][0]["codes"]


def test_what_is_printed(found, capsys):
    print_table(found)
    out = capsys.readouterr().out
    assert "V = 2 V + W s" in out
    assert "s = [V >= th 2^k]" in out
    assert "bits: loihi1, speck, truenorth, truenorth_eedn, xylo: lacks a membrane that doubles in every step" in out
    assert "graded: loihi2, spinnaker1: gadget: 4 subtractions in an update" in out


def test_methods_come_from_capabilities_too(found, capsys):
    """A program and spikes that carry a value, or a program alone; a division where a quotient is sent."""
    assert [m["method"] for m in found["methods"]] == list(METHODS) == list(OTHER_ORDER)
    status = {c["chip"]: c["methods"] for c in found["chips"]}
    assert {name: row["status"] for name, row in status["loihi2"].items()} == {
        "burst": "gadget", "srp": "native", "cos": "native", "differential": "gadget",
        "sd-ternary": "native", "sd-pow2": "native", "sd-graded": "gadget",
    }  # fmt: skip
    assert all(row["status"] == "native" for row in status["spinnaker2"].values())
    assert status["loihi1"]["sd-pow2"]["missing"] == "spikes that carry a sign and a size"
    assert status["loihi1"]["srp"]["missing"] == "a run before that silences neurons (a neuron program)"
    assert status["darwin3"]["burst"]["missing"] == "spikes that carry an integer"
    assert (status["darwin3"]["cos"]["status"], status["darwin3"]["cos"]["slots"]) == ("native", 5)
    assert (status["loihi2"]["sd-graded"]["synapse"], status["loihi2"]["srp"]["synapse"]) == ("synop_graded", "synop")
    print_table(found)
    out = capsys.readouterr().out
    assert "sd-graded: loihi2, spinnaker1: gadget: 4 subtractions in an update" in out


OTHER_ORDER = ("burst", "srp", "cos", "differential", "sd-ternary", "sd-pow2", "sd-graded")
