"""Where the command's picture goes, and its refusals; test_convert.py runs the command itself."""

from pathlib import Path

import pytest

from experiments.conversion.convert import Task
from experiments.conversion.convert_command import figure_path, refused
from neuro.errors import Unsupported


def test_a_refusal_without_a_list_is_one_entry():
    found = refused("net.h5", Unsupported("a map whose values differ"))
    assert found == {
        "network": "net.h5",
        "format": "h5",
        "unsupported": [{"layer": "", "op": "", "reason": "a map whose values differ"}],
    }


@pytest.mark.parametrize(
    ("out", "figure", "wanted"),
    [
        (None, None, "runs/net-diagnosis.png"),
        (Path("a/b.h5"), None, "a/b-diagnosis.png"),
        (Path("a/b.h5"), Path("c.png"), "c.png"),
    ],
)
def test_where_the_picture_goes(out, figure, wanted):
    assert figure_path(Task("some/net.onnx", out=out), figure) == Path(wanted)
