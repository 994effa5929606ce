"""Reading descriptions: every fault is refused with the file and the key path."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neuro.chip import Chip, load
from neuro.constants import Bytes, BytesPerSecond, Hertz, Joules, Number, Seconds, Watts, leaves, locate, read
from neuro.errors import BadDescription, BadInput
from neuro.units import show

HOP = 'hop = { value = "3.5 pJ", low = "3.0 pJ", high = "4.2 pJ", source = "davies2018", basis = "simulated"'
CORES = 'cores = { value = "128", source = "davies2018", basis = "datasheet" }'


def altered(tmp_path: Path, old: str, new: str) -> Path:
    text = locate("loihi1", "neuro.chips", "chip").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CORES, CORES + "\ncoars = 3", "limits.coars: unknown key"),
        (CORES, "", "limits.cores: missing"),
        (CORES, "cores = 128", "limits.cores: a bare value 128"),
        (CORES, CORES.replace('"128"', "128"), "limits.cores.value: a bare number 128; write a string, as in '1'\n"),
        (HOP, HOP.replace('"3.5 pJ"', "3"), "energy.hop.value: a bare number 3; write a string with the unit"),
        (CORES, CORES.replace('"128"', '"128 J"'), "limits.cores.value: '128 J' is not a quantity in 1"),
        (CORES, CORES.replace('"128"', '"0"'), "limits.cores.value: '0' must be above zero"),
        (CORES, CORES.replace('"datasheet"', '"guess"'), "limits.cores.basis: "),
        (CORES, CORES.replace('"davies2018"', '"davis"'), "limits.cores.source: 'davis' is not declared"),
        (HOP, HOP.replace("3.5 pJ", "3.5 pW"), "energy.hop.value: '3.5 pW' is not a quantity in J"),
        (HOP, HOP.replace("3.5 pJ", "3.5"), "energy.hop.value: '3.5' has no unit"),
        (HOP, HOP.replace("3.5 pJ", "5 pJ"), "energy.hop: value 5e-12 lies outside low..high = 3e-12..4.2e-12"),
        (HOP, HOP.replace("3.0 pJ", "-1 pJ"), "energy.hop.low: '-1 pJ' must be above zero"),
        (HOP, HOP.replace("3.0 pJ", "nan pJ"), "energy.hop.low: "),
        (HOP, HOP + ", shade = 1", "energy.hop.shade: unknown key"),
        ('deployment = "edge"', 'deployment = "home"', "deployment: "),
        ("[power.chip]", "[power.rack]", "power.rack"),
        ('Loihi 1"\nyear = 2018', 'Loihi 1"\nyear = -5', "year: .*greater than or equal to 1980"),
        ('Learning"\nyear = 2018', 'Learning"\nyear = 20018', "davies2018.year: .*less than or equal to 2100"),
        ('name = "loihi1"', 'name = "loihi1', "not a readable TOML file"),
    ],
)  # fmt: skip
def test_fault_names_file_and_key(tmp_path, old, new, message):
    path = altered(tmp_path, old, new)
    with pytest.raises(BadDescription, match=message) as error:
        read(path, Chip)
    assert str(error.value).startswith(f"{path}: ")


def test_all_faults_come_at_once(tmp_path):
    path = altered(tmp_path, CORES, "cores = 128\ncoars = 3")
    with pytest.raises(BadDescription, match=r"2 fault\(s\)\n  limits.cores: .*\n  limits.coars: "):
        read(path, Chip)


def test_an_assumption_needs_a_range(tmp_path):
    path = altered(tmp_path, CORES, CORES.replace("datasheet", "assumed"))
    with pytest.raises(BadDescription, match=r"limits\.cores: an assumed constant needs a range"):
        read(path, Chip)


def test_no_such_file():
    with pytest.raises(BadInput, match=r"nowhere\.toml: no such file"):
        load("nowhere.toml")


def test_unknown_chip_lists_the_known_ones():
    with pytest.raises(BadInput, match=r"unknown chip 'loihi3'\. Did you mean 'loihi[12]'\? Known: .*loihi1, loihi2, "):
        load("loihi3")


def test_value_alone_is_a_range_of_one_point():
    c = Joules(value="2 pJ", source="s", basis="measured")
    assert (c.low, c.value, c.high) == (2e-12, 2e-12, 2e-12)
    assert str(c) == "2 pJ (measured, s)"
    assert str(Joules(value="2 pJ", low="1 pJ", source="s", basis="measured")) == "2 pJ [1 pJ .. 2 pJ] (measured, s)"


@given(
    kind=st.sampled_from([Joules, Seconds, Watts, Hertz, Bytes, BytesPerSecond, Number]),
    value=st.floats(1e-12, 1e12),
    spread=st.floats(1.01, 5),
)
def test_constants_read_what_is_shown(kind, value, spread):
    texts = [show(v, kind.unit) for v in (value / spread, value, value * spread)]
    c = kind(low=texts[0], value=texts[1], high=texts[2], source="s", basis="derived")
    assert (c.low, c.value, c.high) == pytest.approx((value / spread, value, value * spread), rel=6e-3)
    assert [show(v, kind.unit) for v in (c.low, c.value, c.high)] == texts


def test_constants_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Number(value="3", source="s", basis="measured").value = 4.0


def test_leaves_are_all_constants_with_their_paths():
    found = dict(leaves(load("loihi1")))
    assert found["power.chip.active"].value == pytest.approx(0.0962)
    assert found["neuron.soft_reset"].value == 2
    text = locate("loihi1", "neuro.chips", "chip").read_text(encoding="utf-8")
    assert len(found) == sum("value = " in line for line in text.splitlines())


def test_a_byte_order_mark_is_no_fault_and_deep_brackets_are_one(tmp_path):
    marked, deep = tmp_path / "marked.toml", tmp_path / "deep.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + locate("loihi1", "neuro.chips", "chip").read_bytes())
    assert read(marked, Chip) == load("loihi1")
    deep.write_text("a = " + "[" * 5000)
    with pytest.raises(BadDescription, match=r"deep\.toml: not a readable TOML file: brackets nested"):
        read(deep, Chip)
