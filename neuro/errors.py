"""Errors a user can act on: what, where, the limit and the value, one thing to try."""

from collections.abc import Iterable
from dataclasses import dataclass


class NeuroError(Exception):
    """Something the user can mend; the command prints the message and leaves without a traceback."""

    exit_code = 2


class BadInput(NeuroError):
    """A file, an option or data that cannot be used as given."""


class BadDescription(NeuroError):
    """A chip or device file that breaks its schema; the message names file and key path."""


@dataclass(frozen=True)
class Refusal:
    """A layer that nothing here can represent: its name, its operator in the words of its format, and why."""

    layer: str
    op: str
    reason: str


class Unsupported(NeuroError):
    """A network with operators that nothing here can represent; all of them are listed in `refusals`."""

    exit_code = 3

    def __init__(self, message: str, refusals: Iterable[Refusal] = ()) -> None:
        super().__init__(message)
        self.refusals = tuple(refusals)


def printable(text: object, limit: int = 300) -> str:
    """What a message quotes from a file, on one line: cut short, and without what a terminal would obey."""
    whole = str(text)
    clear = "".join(c if c.isprintable() else repr(c)[1:-1] for c in whole[:limit])
    return clear if len(whole) <= limit else f"{clear}..."


def unsupported(where: str, what: str, refusals: list[Refusal], advice: str) -> Unsupported:
    """The error that lists all `refusals`. what: completes "3 layers ...", such as "have no integer form"."""
    count = len(refusals)
    what = what.replace("have ", "has ", 1) if count == 1 and what.startswith("have ") else what
    lines = "\n".join(f"  {printable(r.op)} {r.layer!r}: {printable(r.reason, 1000)}" for r in refusals)
    return Unsupported(f"{where}: {count} layer{'s' * (count > 1)} {what}:\n{lines}\n{advice}", refusals)


class DoesNotFit(NeuroError):
    """A network that exceeds a limit of a chip; the message names limit, need and remedy."""


def nearest(name: str, known: list[str]) -> str:
    """`known` as a sentence for an error message, the closest spelling first where there is one."""
    import difflib

    begun = [k for k in sorted(known) if len(name) > 2 and k.startswith(f"{name.lower()}_")]
    close = begun or difflib.get_close_matches(name, known, n=1)
    close = close or [k for k in sorted(known) if name and name.lower() in k]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(sorted(known))}."
