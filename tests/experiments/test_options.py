"""Options as they are typed."""

import pytest

from experiments.options import names, numbers, size
from neuro.errors import BadInput


def test_what_is_typed():
    assert names("a, b,") == ("a", "b")
    assert numbers("--mean", "0.5,1") == (0.5, 1.0)
    assert size("48,32") == (48, 32)
    assert (names(None), numbers("--mean", None), size(None)) == (None, None, None)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: names(" , "), "names nothing"),
        (lambda: numbers("--std", "a"), r"--std 'a' is not a list of numbers"),
        (lambda: size("48"), "rows and columns, such as 48,48"),
        (lambda: size("48,x"), "is not a size"),
    ],
)
def test_mistyped(read, message):
    with pytest.raises(BadInput, match=message):
        read()
