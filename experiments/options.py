"""Options that several commands share: as they are typed, and what they become."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token


def split(kind: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Names separated by commas. Raises ValueError."""
    text = tokens[0].value
    if not (found := tuple(part.strip() for part in text.split(",") if part.strip())):
        raise ValueError(f"{text!r} names nothing; write names separated by commas, or leave the option out.")
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is named twice; name each once.")
    return found


def numbers(kind: Any, tokens: Sequence[Token]) -> tuple[float, ...]:
    """Numbers separated by commas. Raises ValueError."""
    text = tokens[0].value
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers; write 0.5 or 0.49,0.48,0.45.") from None


def rows_and_columns(kind: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """Rows and columns separated by a comma. Raises ValueError."""
    text = tokens[0].value
    try:
        rows, columns = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a size; write rows and columns, such as 48,48.") from None
    return rows, columns


def amount(kind: Any, tokens: Sequence[Token]) -> int:
    """Bytes, such as 500MB or 2GiB. Raises ValueError."""
    text = tokens[0].value.strip()
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([kMGT]?)(i?)B", text)
    number = 0.0 if found is None else float(found[1]) * (1024 if found[3] else 1000) ** " kMGT".index(found[2] or " ")
    if not number:
        raise ValueError(f"{text!r} is not an amount of memory; write 500MB or 2GiB.")
    return max(1, int(number))


Names = Annotated[tuple[str, ...] | None, Parameter(converter=split, n_tokens=1, negative="")]
Numbers = Annotated[tuple[float, ...] | None, Parameter(converter=numbers, n_tokens=1, negative="")]
Size = Annotated[tuple[int, int] | None, Parameter(converter=rows_and_columns, n_tokens=1, negative="")]
Flag = Annotated[bool, Parameter(negative="")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON and nothing else.")]
Memory = Annotated[
    int | None,
    Parameter(
        converter=amount, n_tokens=1, negative="",
        help="What the arrays of the items that run together may take, such as 2GB; default 512MiB, one item at least.",
    ),
]  # fmt: skip
Methods = Literal[
    "exact", "percentile", "max", "mse", "ltb", "burst", "srp", "cos", "differential",
    "sd-ternary", "sd-pow2", "sd-graded",
]  # fmt: skip
"""Of conversion."""
Codes = Literal["auto", "unary", "bits", "naf", "ttfs", "graded", "rate"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options that choose and prepare the data of a network.

    Parameters
    ----------
    data
        A name (docs/data.md lists them) or an .npz or .h5 file with x and, if known, y and x_calibration.
    scale
        The network reads (x * scale - mean) / std; default from NETWORK.input.toml, else as the data are.
    mean
        See --scale; one number, or one per channel, separated by commas.
    std
        See --scale; one number, or one per channel, separated by commas.
    layout
        Where the network has its channels, if both ways fit.
    size
        Rows and columns that images are resized to, such as 48,48.
    samples
        First test items to use; default all.
    calibration
        File with x to calibrate thresholds on; default the first 1,000 training items.
    input_levels
        Levels of the input; default the data's own range.
    """

    data: str | None = None
    scale: float | None = None
    mean: Numbers = None
    std: Numbers = None
    layout: Literal["NCHW", "NHWC"] | None = None
    size: Size = None
    samples: int | None = None
    calibration: Path | None = None
    input_levels: int | None = None


AS_IS = DataOptions()
"""A network's own data, as its sidecar says."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FormOptions:
    """The options that choose how finely a network is written in integers and rates.

    Parameters
    ----------
    levels
        Levels of an activation; default 15, or a quantised network's own.
    weight_bits
        Bits of a weight, sign included.
    steps
        Time steps of the rate code and of approximate methods.
    """

    levels: int | None = None
    weight_bits: int = 8
    steps: int = 64


USUAL = FormOptions()
"""15 levels or a quantised network's own, 8 bits, 64 steps."""
