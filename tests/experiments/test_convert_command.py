from pathlib import Path

import pytest

from experiments.convert import Task
from experiments.convert_command import figure_path


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
