"""``neuro convert``: its options and what it prints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.options import AS_IS, USUAL, DataOptions, Flag, FormOptions, Json, Memory, Methods
from neuro.errors import BadInput, Unsupported

if TYPE_CHECKING:
    from experiments.conversion.convert import Conversion, Task
    from experiments.conversion.diagnosis import Diagnosis
    from experiments.progress import Progress


def convert(
    network: str,
    *,
    data: DataOptions = AS_IS,
    method: Methods = "exact",
    code: Literal["unary", "bits", "naf", "ttfs", "graded", "rate"] | None = None,
    form: FormOptions = USUAL,
    operand_levels: int | None = None,
    budget: float | None = None,
    reset: Literal["subtract", "zero"] = "subtract",
    v0: Literal["half", "zero"] | None = None,
    members: int = 4,
    values: int = 6,
    prerun: int | None = None,
    rounds: int = 1,
    memory: Memory = None,
    out: Path | None = None,
    diagnose: Flag = False,
    figure: Path | None = None,
    json_: Json = False,
) -> None:
    """Convert a trained network to a spiking one, run it, and prove it equal to its integer form.

    Parameters
    ----------
    network
        A bundled name (digits-cnn) or a file; docs/importers.md lists the formats.
    method
        exact: an integer reference of least squared error and an exact code; sd-ternary, sd-pow2 and sd-graded send
        changes until it is reached. percentile, max, mse and ltb fire at rates, with thresholds at a layer's 99.9th
        percentile, at its largest activation, of least squared error per channel, or balanced per channel. burst, srp,
        cos and differential are approximate neurons: docs/conversion.md.
    code
        Spike code; default bits, where rates are asked for rate.
    operand_levels
        Levels of neurons that only round and are one side of a product, such as those that hold an LSTM's state;
        default --levels.
    budget
        In place of levels, the points that may be lost: the smallest of 1, 3, 7, 15, 31, 63, 127, 255 levels at which
        the share of decisions that change, on the half of the calibration items that was not calibrated on, stays
        within it. The upper end of its one-sided 80 % interval counts. For real targets it is their mean change.
    reset, v0
        Of rate codes: what a spike leaves of the membrane (its excess, or zero), and the membrane at the start (half a
        threshold or zero; default zero under max, else half).
    members, values
        Spikes that a neuron can send in a step (burst), and sizes that a spike can have (differential).
    prerun, rounds
        Steps of the run before (srp, cos; default: steps), and how often cos repeats it.
    out
        A file (.h5) for the converted network, which the other commands read.
    diagnose
        Attribute the loss to its causes, layer by layer: print a table and draw a picture.
    figure
        The picture of the diagnosis (.png); default runs/NAME-diagnosis.png, or beside --out.
    """
    from experiments.conversion.convert import Task, carry_out
    from experiments.conversion.methods import OTHER
    from experiments.terminal import progress_bars

    if figure is not None and (figure.suffix != ".png" or not diagnose):
        raise BadInput(f"--figure {figure}: the picture of --diagnose; let its name end in .png, and add --diagnose.")
    if diagnose and method in OTHER:
        raise BadInput(f"--diagnose knows exact and rate codes, not --method {method}; leave one of them out.")
    task = Task(
        network=network, **vars(data), **vars(form),
        method=method, code=code, operand_levels=operand_levels, budget=budget, reset=reset, v0=v0, out=out,
        members=members, values=values, prerun=prerun, rounds=rounds, memory=memory,
    )  # fmt: skip
    with refusals_told(network, json_), progress_bars() as progress:
        done, found = carry_out(task, progress)
        told = diagnosed(done, task, figure, progress) if diagnose else None
    if told is not None:
        found["diagnosis"] = told.as_dict() | {"figure": str(figure_path(task, figure))}
    if json_:
        print(json.dumps(found))
    else:
        show(found)
        if told is not None:
            from experiments.conversion.diagnosis_table import show as show_diagnosis

            show_diagnosis(told)
            print(f"figure: {figure_path(task, figure)}")


def diagnosed(done: "Conversion", task: "Task", figure: Path | None, progress: "Progress") -> "Diagnosis":
    """The diagnosis of a conversion, drawn as well."""
    from experiments.conversion.diagnosis import diagnose
    from experiments.conversion.diagnosis_figure import draw

    found = diagnose(done, progress=progress)
    levels = f"{task.levels or 15} levels" if task.method == "exact" else f"{task.steps} steps"
    title = f"{Path(task.network).name}: {task.method}, {found.code} code, {levels}, {task.weight_bits} bit weights"
    draw(found, f"{title}, {found.items:,} items", figure_path(task, figure))
    return found


def figure_path(task: "Task", figure: Path | None) -> Path:
    """Where the picture goes."""
    if figure is not None:
        return figure
    if task.out is not None:
        return task.out.with_name(f"{task.out.stem}-diagnosis.png")
    return Path("runs") / f"{Path(task.network).stem}-diagnosis.png"


@contextmanager
def refusals_told(network: str, json_: bool) -> Iterator[None]:
    """Prints the layers that cannot be represented as JSON, if that is asked for, and lets the error pass."""
    try:
        yield
    except Unsupported as error:
        if json_:
            print(json.dumps(refused(network, error)))
        raise


def refused(network: str, error: Unsupported) -> dict[str, Any]:
    """The JSON of a network that cannot be represented."""
    layers = [{"layer": r.layer, "op": r.op, "reason": r.reason} for r in error.refusals]
    return {"network": network, "format": Path(network).suffix.lstrip("."), "unsupported": layers or [
        {"layer": "", "op": "", "reason": str(error)}
    ]}  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """Prints a summary as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    data = found["data"]
    console.print(f"{found['network']} ({found['format']}) on {data['items']:,} items of {data['name']}")
    console.print(f"  {data['preprocessing']}; counts 0..{found['input_levels']}")
    if found["hosted"]:
        console.print(f"  the host works out {', '.join(found['hosted'])} before the first spike")
    if products := found["not_spiking"]:
        more = f" and {len(products) - 3} more" if len(products) > 3 else ""
        console.print(f"  not sums of spikes, but worked out in the neuron: {', '.join(products[:3])}{more}")
    table = Table("form", "error" if "error" in found else "accuracy", box=None)
    for form in ("float", "integer", "spiking"):
        table.add_row(form, _score(found, form))
    console.print(table)
    equal = found["equivalence"]
    if equal["checked"] is None:
        console.print(f"{equal['code']} code: no equality claimed")
    else:
        share = f"{equal['mismatches']:,} of {equal['checked']:,}"
        console.print(f"{equal['code']} code: {share} values differ from the integer network")
        if equal["first"]:
            console.print(f"  {equal['first']}")
    if (agreement := found.get("agreement")) is not None and equal["mismatches"] != 0:
        console.print(f"{100 * agreement:.2f} % of the decisions are those of the integer network")
    levels = ", ".join(map(str, found["levels"])) or "no"
    console.print(
        f"{found['neurons']:,} neurons, {levels} levels, {found['weight_bits']} bit weights: "
        f"{found['spikes_per_neuron']:.3f} spikes a neuron, {found['synops']:,.0f} synaptic operations, "
        f"{found['steps']:,} steps"
    )
    if chosen := found["budget"]:
        state = "within" if chosen["within"] else "no level count stays within"
        console.print(
            f"{chosen['levels']} levels: {state} the budget of {chosen['budget']:g}; at most {chosen['upper']:.3g} "
            f"{chosen['unit']} on {chosen['items']:,} items left out"
        )
    if found["file"]:
        console.print(f"network: {found['file']}")


def _score(found: dict[str, Any], form: str) -> str:
    if "error" in found:
        error = found["error"][form]
        if error is None:
            return "none"
        return f"RMSE {error['rmse']:.4g}, MAE {error['mae']:.4g} {error['unit']}".rstrip()
    share = found["accuracy"][form]
    return "unknown" if share is None else f"{100 * share:.2f} %"
