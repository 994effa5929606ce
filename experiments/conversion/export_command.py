"""``neuro export``: its options and what it prints."""

import json
from pathlib import Path
from typing import Any

from experiments.options import Json


def export(
    network: str,
    *,
    to: Path,
    data: str | None = None,
    items: int = 16,
    json_: Json = False,
) -> None:
    """Write a converted network for other programs, with vectors to replay there, and say what is lost.

    Parameters
    ----------
    network
        What neuro convert wrote (.h5).
    to
        The file to write: .onnx (the integer network in standard operators), .nir or .h5.
    data
        Data whose first items are replayed, as for convert; default random input counts.
    items
        Number of items to replay.
    """
    from experiments.conversion.export import Export, carry_out

    found = carry_out(Export(network, data=data, to=to, items=items))
    if json_:
        print(json.dumps(found))
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Prints what was written and what is lost."""
    print(f"{found['network']}: {found['format']} with the {found['code']} code in {found['file']}")
    vectors = found["replay"]
    print(f"replay vectors: {vectors['values']:,} values of {vectors['items']} items in {vectors['file']}")
    if vectors["replayed"]:
        by = "run by onnxruntime" if found["format"] == "onnx" else "read back and simulated"
        print(f"{by}: {vectors['first_difference'] or '0 differences'}")
    for line in found["lost"]:
        print(f"lost: {line}")
    if not found["lost"]:
        print("nothing is lost")
