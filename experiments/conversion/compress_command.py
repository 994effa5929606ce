"""``neuro compress``: its options and what it prints."""

import json
from pathlib import Path
from typing import Any, Literal

from experiments.options import AS_IS, DataOptions, Json


def compress(
    network: str,
    *,
    data: DataOptions = AS_IS,
    prune: Literal["2:4"] | float | None = None,
    prune_channels: float | None = None,
    cluster_bits: int | None = None,
    levels: int | None = None,
    weight_bits: int | None = None,
    finetune: int = 0,
    rate: float = 0.01,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Compress a trained network for both sides of a comparison: zeros, fewer channels, shared weights, fewer bits.

    Parameters
    ----------
    network
        A bundled name (digits-cnn) or a file; docs/importers.md lists the formats.
    prune
        Share of the weights to set to zero, the smallest first (0.8), or 2:4 for two of every four.
    prune_channels
        Share of the channels of each layer to take out, those of the smallest weights first.
    cluster_bits
        Leave each layer at most 2^N different weights.
    levels
        Levels of an activation; default 15, or a quantised network's own.
    weight_bits
        Bits of a weight, sign included; default 8.
    finetune
        Passes over the labelled training items after zeros and channels, after sharing, and, where levels or weight
        bits are given, of the quantised network.
    rate
        Rate of learning at the start, in units of a layer's weights.
    seed
        Of the order of the training items.
    out
        The file (.h5) to write, which convert and compare read; default runs/NAME-compressed.h5.
    """
    from experiments.conversion.compress import Task, carry_out
    from experiments.terminal import progress_bars

    task = Task(
        network=network, **vars(data), prune=prune, prune_channels=prune_channels, cluster_bits=cluster_bits,
        levels=levels, weight_bits=weight_bits, finetune=finetune, rate=rate, seed=seed,
        out=out or Path("runs") / f"{Path(network).stem}-compressed.h5",
    )  # fmt: skip
    with progress_bars() as progress:
        _, found = carry_out(task, progress)
    if json_:
        print(json.dumps(found))
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Prints a summary as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    data = found["data"]
    console.print(f"{found['network']} ({found['format']}) on {data['items']:,} items of {data['name']}")
    table = Table("step", "weights", "zeros", "accuracy", "drop, points [95 %]", box=None)
    for step in [*found["steps"], {"step": "integer", "weights": found["parameters"]["after"], **found["integer"]}]:
        table.add_row(step["step"], f"{step['weights']:,}", f"{100 * step['zeros']:.1f} %", *_score(step))
    console.print(table)
    for name, why in next((s["kept"] for s in found["steps"] if "kept" in s), {}).items():
        console.print(f"  {name} keeps its channels: {why}")
    storage, levels = found["weight_storage_bits"], ", ".join(map(str, found["levels"])) or "no"
    console.print(
        f"{levels} levels, {found['weight_bits']} bit weights, up to {found['values_per_layer']} different in a layer: "
        f"{storage['before'] / 8192:,.1f} KiB as float32, {storage['after'] / 8192:,.1f} KiB as integers"
    )
    console.print(f"network: {found['file']}")


def _score(step: dict[str, Any]) -> tuple[str, str]:
    if error := step.get("error"):
        return f"RMSE {error['rmse']:.4g} {error['unit']}".rstrip(), ""
    if step.get("accuracy") is None:
        return "unknown", ""
    drop, low, high = step["drop"]
    return f"{100 * step['accuracy']:.2f} %", f"{drop:+.2f} [{low:+.2f} .. {high:+.2f}]"
