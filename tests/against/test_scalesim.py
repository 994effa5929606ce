"""Cycles of a systolic array without double buffers against SCALE-Sim's weight-stationary counts."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from baselines import systolic
from baselines.device import Systolic, load
from baselines.workload import LayerWork, convolution, dense

INI = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 16
ArrayWidth: 8
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
FilterCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def array(rows: int, columns: int) -> Systolic:
    """One array of that size that neither loads weights while it computes nor overlaps two products."""
    device = load("tpu_v1")
    assert isinstance(device, Systolic)
    sizes = {
        "rows": device.array.rows.model_copy(update={"value": float(rows)}),
        "columns": device.array.columns.model_copy(update={"value": float(columns)}),
        "accumulators": None,
        "double_buffered": False,
    }
    return device.model_copy(update={"array": device.array.model_copy(update=sizes)})


def scalesim(device: Systolic, layer: LayerWork) -> int:
    """What SCALE-Sim prints: it numbers cycles from 0 and gives the number of the last, for each group by itself."""
    return round(float(systolic.cycles(device, (layer,), 1)[0]) / layer.groups) - 1


@pytest.mark.parametrize(
    ("enter", "leave", "kernel", "out", "groups", "published"),
    # AlexNet on 256 × 256, the layers in two groups as two convolutions: eight counts that scalesim 3.0.0 printed.
    [(3, 96, 11, 55, 1, 7581), (96, 256, 5, 27, 2, 7474), (256, 384, 3, 13, 1, 16829), (384, 384, 3, 13, 2, 6544),
     (384, 256, 3, 13, 2, 6544)],
)  # fmt: skip
def test_alexnet(enter, leave, kernel, out, groups, published):
    layer = convolution("c", (enter, leave), (kernel, kernel), (1, 1), (out, out), (out, out), groups)
    assert scalesim(array(256, 256), layer) == published


@pytest.mark.parametrize(
    ("m", "n", "k", "published"),
    # From the SCALE-Sim validation repository, 128 × 128. Its tool lets the side with fewer cycles stream, and it
    # counts cycles, not the number of the last.
    [(112, 112, 128, 494), (112, 32, 128, 414), (112, 48, 112, 430), (1024, 128, 128, 1406), (1024, 1024, 128, 11248),
     (1024, 1024, 896, 78736), (1024, 1024, 1536, 134976), (1024, 1536, 4096, 491008), (1024, 2560, 1024, 188288)],
)  # fmt: skip
def test_products_of_the_validation_repository(m, n, k, published):
    device = array(128, 128)
    sides = [systolic.cycles(device, (dense("p", k, columns, rows=rows),), 1)[0] for rows, columns in ((m, n), (n, m))]
    assert min(sides) == published


@pytest.mark.timeout(300)
@pytest.mark.skipif(importlib.util.find_spec("scalesim") is None, reason="scalesim is not installed")
@pytest.mark.skipif(int(np.__version__.split(".")[0]) > 1, reason="scalesim 3.0.0 fails with NumPy 2")
def test_a_run_of_scalesim(tmp_path: Path):
    """Three products that leave an array of 16 × 8 partly empty, in a process of its own."""
    sizes = [(40, 20, 50), (7, 8, 16), (100, 3, 33)]
    (tmp_path / "array.cfg").write_text(INI, encoding="utf-8")
    lines = [f"p{i},{m},{n},{k},1:1," for i, (m, n, k) in enumerate(sizes)]
    (tmp_path / "products.csv").write_text("\n".join(["Layer, M, N, K, Sparsity,", *lines, ""]), encoding="utf-8")
    (tmp_path / "layout.csv").write_text("Layer,\n" + "".join(f"p{i},1\n" for i in range(3)), encoding="utf-8")
    command = [sys.executable, "-m", "scalesim.scale", "-c", "array.cfg", "-t", "products.csv", "-l", "layout.csv"]
    subprocess.run([*command, "-p", "out", "-i", "gemm"], cwd=tmp_path, check=True, capture_output=True, timeout=240)
    with (tmp_path / "out" / "run" / "COMPUTE_REPORT.csv").open(encoding="utf-8") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    column = rows[0].index("Total Cycles")
    printed = [int(float(row[column])) for row in rows[1:]]
    assert printed == [scalesim(array(16, 8), dense("p", k, n, rows=m)) for m, n, k in sizes]
