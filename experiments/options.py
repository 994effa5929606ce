"""Options that several commands share, as they are typed."""

from typing import Annotated, Literal

from cyclopts import Parameter

from neuro.errors import BadInput

Numbers = Annotated[str | None, Parameter(help="One number, or one per channel, separated by commas.")]
Size = Annotated[str | None, Parameter(help="Rows and columns that images are resized to, such as 48,48.")]
Codes = Literal["auto", "unary", "bits", "naf", "ttfs", "graded", "rate"]


def names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas. Raises BadInput."""
    if text is None:
        return None
    if not (found := tuple(part.strip() for part in text.split(",") if part.strip())):
        raise BadInput(f"{text!r} names nothing; write names separated by commas, or leave the option out.")
    return found


def size(text: str | None) -> tuple[int, int] | None:
    """Rows and columns separated by a comma. Raises BadInput."""
    if text is None:
        return None
    try:
        rows, columns = (int(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--size {text!r} is not a size; write rows and columns, such as 48,48.") from None
    return rows, columns


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers separated by commas. Raises BadInput."""
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a list of numbers; write 0.5 or 0.49,0.48,0.45.") from None
