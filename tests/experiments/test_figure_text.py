"""Names in figures, as Matplotlib itself draws them."""

import warnings

import pytest
from matplotlib.figure import Figure

from experiments.figure_text import plain

NAMES = ["$x^$", r"$\frac", r"\alpha$$", "5 $ an hour", "_hidden", r"a\$b", "net/layer[0]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_and_stands_in_the_legend(name, tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], label=plain(name))
    axes.set_title(plain(name))
    (shown,) = axes.legend().get_texts()
    text, formula = shown._preprocess_math(shown.get_text())
    assert (text.strip(), formula) == (name, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "a.png")
