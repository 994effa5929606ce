"""The drawing of a chip: a picture for every kind of network on a chip, and cores where they belong."""

import numpy as np
import pytest
from matplotlib.image import imread

from converters.encode import encode
from experiments.maps.chip_figure import draw, sites
from experiments.maps.chip_map import on_chip
from neuro.chip import load
from neuro.constants import Number
from neuro.topology import Topology


def mapped(graph, name: str, code: str = "rate", cores: int | None = None):
    chip = load(name)
    if cores:
        few = Number(value=str(cores), source=next(iter(chip.sources)), basis="datasheet")  # pyright: ignore
        chip = chip.model_copy(update={"limits": chip.limits.model_copy(update={"cores": few})})
    spiking = encode(graph, code, 4 if code == "rate" else None)
    return on_chip(spiking, chip, code, np.array([[2, 1]]), allow=True)


@pytest.mark.parametrize(
    ("name", "code", "cores"),
    [("loihi2", "bits", None), ("loihi2", "bits", 1), ("loihi1", "unary", None), ("speck", "rate", None),
     ("akida", "rate", None), ("odin", "rate", None)],
    ids=["mesh", "several chips", "clock", "star", "priced", "one core"],
)  # fmt: skip
def test_every_chip_has_a_picture(tiny_integer, tmp_path, name, code, cores):
    found = mapped(tiny_integer, name, code, cores)
    assert found.placement.topology.chips == (3 if cores else 1)
    path = draw(found, f"tiny on {name}", tmp_path / "chip.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    picture = imread(path)
    assert min(picture.shape[:2]) > 200
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    np.testing.assert_array_equal(edge[:, :3], 1)  # nothing is cut off
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


@pytest.mark.parametrize(
    "topology",
    [
        Topology("mesh", 4, 3, 4, chip_columns=2, chip_rows=2, cores=45),
        Topology("torus", 3, 3),
        Topology("star", 1, 1, 9),
        Topology("star", 1, 1, 2, chip_columns=3),
        Topology("star", 1, 1, 1),
        Topology("tree", 4, 4, 1, fan_out=4),
    ],
    ids=lambda t: f"{t.kind}-{t.sites}",
)
def test_no_two_cores_are_drawn_on_one_another(topology):
    centres, side = sites(topology)
    assert centres.shape == (topology.sites, 2)
    apart = np.abs(centres[:, None] - centres[None, :]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= side * 0.999
