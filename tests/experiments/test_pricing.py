"""Prices of any network on any machine: bands in order, reasons where there are none."""

import json

import pytest

from experiments.pricing import prices, print_prices
from neuro.errors import BadInput, Unsupported


def test_rows_have_bands_or_a_reason():
    rows = {r["device"]: r for r in prices("resnet50", ("l4", "tpu_v3", "stm32h7a3"), None, "1", "compiled", "chip")}
    assert rows["l4"]["precision"] == "fp16"
    assert rows["tpu_v3"]["precision"] == "bf16"
    for name in ("l4", "tpu_v3"):
        for what in ("energy_j", "latency_s", "throughput_hz"):
            band = rows[name][what]
            assert 0 < band["p5"] < band["p50"] < band["p95"]
        # One sample at a time: the rate is one over the time.
        assert rows[name]["latency_s"]["p50"] * rows[name]["throughput_hz"]["p50"] == pytest.approx(1, rel=0.02)
    assert "flash" in rows["stm32h7a3"]["reason"]
    assert rows["stm32h7a3"]["energy_j"] is None


def test_the_best_batch_costs_no_more_than_one():
    (one,) = prices("mobilenet_v1", ("a100_pcie_40gb",), "int8", "1", "compiled", "chip")
    (best,) = prices("mobilenet_v1", ("a100_pcie_40gb",), "int8", "best", "compiled", "chip")
    assert best["batch"] > 1
    assert best["energy_j"]["p50"] < one["energy_j"]["p50"]


def test_a_framework_is_slower_than_a_compiler():
    (eager,) = prices("bert_large:sequence=64", ("a100_pcie_40gb",), "fp16", "1", "eager", "chip")
    (graph,) = prices("bert_large:sequence=64", ("a100_pcie_40gb",), "fp16", "1", "compiled", "chip")
    assert eager["latency_s"]["p50"] > graph["latency_s"]["p50"]


def test_a_boundary_without_a_price_is_a_reason():
    (row,) = prices("lenet5", ("eyeriss_v1",), None, "1", "compiled", "system")
    assert "no price at the system boundary" in row["reason"]


def test_what_is_printed_and_as_json(capsys):
    rows = prices("gemm:64x64x64", ("l4", "edge_tpu", "stm32l4r5"), "fp32", "1", "compiled", "chip")
    json.dumps(rows, allow_nan=False)
    print_prices(rows)
    printed = capsys.readouterr().out
    assert printed.index("l4") < printed.index("edge_tpu: edge_tpu runs int8 only")
    assert "Modelled, not measured" in printed


@pytest.mark.parametrize("batch", ["0", "-1", "many", "1.5", "", "²"])
def test_batches_that_are_none(batch):
    with pytest.raises(BadInput, match="--batch"):
        prices("lenet5", ("l4",), None, batch, "compiled", "chip")


@pytest.mark.parametrize(
    ("network", "devices", "precision", "message"),
    [
        ("resnet51", ("l4",), None, "resnet50"),
        ("lenet5", ("l5",), None, "unknown device 'l5'"),
        ("lenet5", ("l4",), "int9", "unknown precision 'int9'"),
        ("gemm:0x1x1", ("l4",), None, "gemm"),
        ("no/such.onnx", ("l4",), None, "no/such.onnx"),
    ],
)
def test_what_is_unknown_is_named(network, devices, precision, message):
    with pytest.raises((BadInput, Unsupported), match=message):
        prices(network, devices, precision, "1", "compiled", "chip")
