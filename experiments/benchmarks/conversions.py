"""Every trained network of the data folder through its importer and into spikes: one table.

    NEURO_DATA=FOLDER python -m experiments.benchmarks.conversions [--samples N] [--levels L] [--json FILE]

Preprocessing is what a user would type, or put into a sidecar; docs/data.md says where the figures come from.
"""

import json
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.benchmarks import ecgnet
from experiments.conversion.convert import Task, carry_out
from experiments.conversion.convert_command import refused
from neuro.errors import NeuroError, Unsupported

PIXEL = 1 / 255
KWS = {"scale": 0.5847029, "mean": (83 * 0.5847029,)}
ECG = {"mean": (967.1,), "std": (91.9,)}
CIFAR_VIT = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
CIFAR_RESNET = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}


@dataclass(frozen=True)
class Case:
    """A network file below models/, its data and the options that prepare them.

    export: what writes the network into a folder, from a file that holds its weights alone; it needs PyTorch.
    """

    file: str
    data: str
    options: dict[str, Any] = field(default_factory=dict)
    export: Callable[[Path, Path], Path] | None = None


CASES = (
    Case("onnx/mnist_fc_256x2.onnx", "mnist"),
    Case("onnx/mnist_convnet_avgpool.onnx", "mnist"),
    Case("onnx/mnist_cnn_cntk_mnist-8.onnx", "mnist", {"scale": 255.0}),
    Case("onnx/qonnx_tfc_1w1a.onnx", "mnist"),
    Case("onnx/cifar10_resnet_4b.onnx", "cifar10", CIFAR_RESNET),
    Case("onnx/cifar10_vit_pgd_2_3_16.onnx", "cifar10", CIFAR_VIT),
    Case("onnx/gtsrb_cnn_marabou.onnx", "gtsrb", {"scale": PIXEL, "layout": "NHWC"}),
    Case("onnx/gtsrb_bnn_48.onnx", "gtsrb", {"size": (48, 48)}),
    Case("keras/nxtf_mnist_cnn.h5", "mnist"),
    Case("keras/deeppicar_lane_navigation.h5", "deeppicar", {"scale": PIXEL}),
    Case("mlperf_tiny/ic_resnet8.h5", "cifar10", {"scale": 255.0}),
    Case("mlperf_tiny/ic_resnet8_float.tflite", "cifar10", {"scale": 255.0}),
    Case("mlperf_tiny/ic_resnet8_int8.tflite", "cifar10", {"scale": 255.0, "mean": (128.0,)}),
    Case("mlperf_tiny/kws_dscnn_float.tflite", "kws01", KWS),
    Case("mlperf_tiny/kws_dscnn_int8.tflite", "kws01"),
    Case("health/ecgnet_17class_state.npz", "ecg17", ECG, ecgnet.exported),
    Case("text/sst2_avgword_nlclassifier.tflite", "sst2"),
)


@contextmanager
def task(case: Case, models: Path, **options: Any) -> Iterator[Task]:
    """The conversion of a case, its network written for as long as it lasts.

    Raises:
        ImportError: PyTorch would have to write it, and is not there.
    """
    with TemporaryDirectory() as folder:
        path = models / case.file if case.export is None else case.export(models / case.file, Path(folder))
        yield Task(str(path), data=case.data, **case.options, **options)


def row(case: Case, models: Path, samples: int | None, levels: int | None) -> dict[str, Any]:
    """The summary of one conversion, or what is unsupported or wrong."""
    try:
        with task(case, models, samples=samples, levels=levels) as asked:
            return carry_out(asked)[1] | {"network": case.file}
    except ImportError as error:
        return {"network": case.file, "error_message": f"needs PyTorch: {error}"}
    except Unsupported as error:
        return refused(case.file, error)
    except NeuroError as error:
        return {"network": case.file, "error_message": str(error)}


def scores(found: dict[str, Any]) -> list[str]:
    """Float and spiking accuracy and the drop in points, or mean absolute errors in the units of the targets."""
    if "accuracy" in found:
        first, last = (found["accuracy"][form] for form in ("float", "spiking"))
        if first is None:
            return ["unknown"] * 3
        return [f"{100 * first:.2f} %", f"{100 * last:.2f} %", f"{100 * (first - last):+.2f}"]
    first, last = (found["error"][form] for form in ("float", "spiking"))
    return [f"{first['mae']:.2f} {first['unit']}", f"{last['mae']:.2f}", f"{last['mae'] - first['mae']:+.2f}"]


def table(rows: list[dict[str, Any]]) -> Table:
    """All rows as printed."""
    made = Table(
        "network",
        "items",
        "float",
        "spiking",
        "drop",
        "levels",
        "bits",
        "steps",
        "spikes/neuron",
        "differing",
        box=None,
    )
    for found in rows:
        if "steps" not in found:
            layers = found.get("unsupported", [])
            why = ", ".join(sorted({layer["op"] for layer in layers})) or found.get("error_message", "")
            made.add_row(found["network"], "", f"refused: {len(layers)} layers: {why}"[:60])
            continue
        equal = found["equivalence"]
        made.add_row(
            found["network"],
            f"{found['data']['items']:,}",
            *scores(found),
            ",".join(map(str, found["levels"])),
            str(found["weight_bits"]),
            str(found["steps"]),
            f"{found['spikes_per_neuron']:.3f}",
            f"{equal['mismatches']:,} of {equal['checked']:,}",
        )
    return made


def main(
    out: Path | None = None,
    samples: int | None = None,
    levels: int | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> list[dict[str, Any]]:
    """Converts all, prints the table and writes the rows to `out`. levels: of every layer, None for the default."""
    models = Path(os.environ["NEURO_DATA"]) / "models"
    rows = []
    for case in CASES:
        say(case.file)
        rows.append(row(case, models, samples, levels))
    Console(width=160, highlight=False).print(table(rows))
    if out is not None:
        out.write_text(json.dumps(rows, indent=1, default=np.ndarray.tolist), encoding="utf-8")
    return rows


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, help="first test items of each; default all")
    parser.add_argument("--levels", type=int, help="of every layer; default 15, or a quantised network's own")
    parser.add_argument("--json", type=Path, help="file for the rows")
    asked = parser.parse_args()
    main(asked.json, asked.samples, asked.levels)
