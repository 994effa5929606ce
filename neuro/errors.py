"""Errors a user can act on: what, where, the limit and the value, one thing to try."""


class NeuroError(Exception):
    """Something the user can mend; the command prints the message and leaves without a traceback."""

    exit_code = 2


class BadInput(NeuroError):
    """A file, an option or data that cannot be used as given."""


class BadDescription(NeuroError):
    """A chip or device file that breaks its schema; the message names file and key path."""


class Unsupported(NeuroError):
    """A network with operators that nothing here can represent; all of them are listed."""

    exit_code = 3


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
