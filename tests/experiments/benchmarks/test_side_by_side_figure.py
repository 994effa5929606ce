"""The picture is there, and every method of a row has its line."""

from experiments.benchmarks import side_by_side_figure
from experiments.benchmarks.side_by_side import RULES
from experiments.benchmarks.side_by_side_figure import _styles, draw
from experiments.benchmarks.side_by_side_table import Row


def row(by: str, method: str, hidden: float, drop: float) -> Row:
    return Row("net", by, method, 8, None, 0.9, drop, drop - 1, drop + 1, hidden, None, None)


def test_a_picture(tmp_path):
    rows = [row(by, m, 0.5 + k, 10.0 * k - 1) for by, m in _styles() for k in range(2)]
    path = draw(rows, tmp_path / "out" / "side.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_every_method_has_a_style():
    ours = {method for by, method in _styles() if by == "here"}
    assert {m.split(",")[0] for m in side_by_side_figure.RATES} == set(RULES)
    assert ours >= {"srp", "cos", "burst", "differential", "unary", "bits", "naf", "ttfs", "sd-pow2"}
