"""Options as they are typed, and what they become."""

from typing import Any

import pytest
from cyclopts import App, CoercionError

from experiments.options import AS_IS, DataOptions, Flag, Json, Memory, Names


def typed(line: str) -> dict[str, Any]:
    """What a command gets that has the shared options."""
    app = App()

    @app.default
    def command(
        *,
        data: DataOptions = AS_IS,
        chips: Names = None,
        measure: Flag = False,
        memory: Memory = None,
        json_: Json = False,
    ):
        return {**vars(data), "chips": chips, "measure": measure, "memory": memory, "json": json_}

    return app(line, exit_on_error=False, print_error=False, result_action="return_value")


def test_what_is_typed():
    found = typed("--data mnist --mean 0.5,1 --size 48,32 --samples 7 --chips 'a, b,' --measure --json")
    assert (found["data"], found["mean"], found["size"], found["samples"]) == ("mnist", (0.5, 1.0), (48, 32), 7)
    assert (found["chips"], found["measure"], found["json"]) == (("a", "b"), True, True)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("500MB", 5 * 10**8), ("2GiB", 2**31), ("1.5kB", 1500), ("'3 B'", 3), ("0.1B", 1), ("1TB", 10**12)],
)
def test_amounts_of_memory(text, bytes_):
    assert typed(f"--memory {text}")["memory"] == bytes_


def test_nothing_typed():
    assert set(typed("").values()) == {None, False}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--chips ' , '", "names nothing"),
        ("--chips 'b, a,b'", "b is named twice"),
        ("--std a", "'a' is not a list of numbers"),
        ("--size 48", "rows and columns, such as 48,48"),
        ("--size 48,x", "is not a size"),
        ("--memory 2", "'2' is not an amount of memory; write 500MB or 2GiB"),
        ("--memory 0GB", "is not an amount of memory"),
        ("--memory .GB", "is not an amount of memory"),
    ],
)
def test_mistyped(line, message):
    with pytest.raises(CoercionError, match=message):
        typed(line)
