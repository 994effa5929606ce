"""Rows of measurements: what is read, what is taken where nothing is said, and what is refused."""

from contextlib import suppress
from math import isnan
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.replays.measurement import Kind, bundled, read
from neuro.errors import BadInput

HEADER = "case,target,workload,precision,quantity,value,unit"


def rows(tmp_path, *lines, header=HEADER):
    path = tmp_path / "cases.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_values_are_si_and_the_rest_has_defaults(tmp_path):
    (found,) = read(rows(tmp_path, "a,a100_pcie_40gb,resnet50,int8,latency,0.4945,ms"))
    assert found.value == pytest.approx(4.945e-4)
    assert (found.set, found.batch, found.mode, found.boundary) == ("latency", 1, "compiled", "chip")
    assert (found.settings, found.fit, found.reason) == ((), "", "")
    assert (found.regime, found.aspect, found.unit) == ("batch 1", "time", "s")
    assert found.folder == tmp_path


def test_every_column(tmp_path):
    header = f"{HEADER},set,batch,mode,boundary,settings,fit,reason,source,note"
    line = "a,x,y.toml,int8,dynamic energy,2.5,mJ,mine,best,eager,system,power.cap = 40 W ; sustained=0.5,g,,s,n"
    (found,) = read(rows(tmp_path, line, header=header))
    assert found.value == pytest.approx(2.5e-3)
    assert (found.set, found.batch, found.mode, found.boundary) == ("mine", None, "eager", "system")
    assert found.settings == (("power.cap", "40 W"), ("sustained", "0.5"))
    assert (found.regime, found.aspect) == ("batch", "energy")


def test_a_case_that_is_only_listed_needs_no_value(tmp_path):
    (found,) = read(rows(tmp_path, "a,x,,,latency,,,unusual stack", header=f"{HEADER},reason"))
    assert isnan(found.value)
    assert found.reason == "unusual stack"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,x,y,int8,latency,1,kg", "line 2: '1 kg' is not a quantity in s"),
        ("a,x,y,int8,latency,0,ms", "above zero"),
        ("a,x,y,int8,latency,-1,ms", "above zero"),
        ("a,x,y,int8,latency,nan,ms", "line 2"),
        ("a,x,y,int8,latency,1e999,ms", "above zero and finite"),
        ("a,x,y,int8,latency,1e308,s", "value '1e308' is 1e.308 s; give one between 1e-30 and 1e.30 s"),
        ("a,x,y,int8,latency,1e-300,ps", "value '1e-300' is 1e-312 s"),
        ("a,x,y,int8,throughput,1e-310,1/s", "give one between"),
        ("a\0b,x,y,int8,latency,1,ms", "line 2: control characters in case"),
        ("a,x,y\x1b[31m,int8,latency,1,ms", "control characters in workload"),
        ("a,x,y,int8,speed,1,ms", "quantity 'speed' is none of latency"),
        ("a,x,y,int9,latency,1,ms", "precision 'int9' is none of"),
        ("a,x,y,int8,throughput,1,ms", "a throughput is given in 1/s"),
        ("a,,y,int8,latency,1,ms", "empty: target"),
        ("a,x,y,int8,latency,1,ms,extra", "more cells than columns"),
        ("a,x,y,int8,latency,1", "empty: unit"),
    ],
)
def test_faulty_rows_are_refused_with_their_line(tmp_path, line, message):
    with pytest.raises(BadInput, match=message):
        read(rows(tmp_path, line))


@pytest.mark.parametrize("batch", ["0", "-1", "1.5", "1e3", "all", "1000001", "²"])
def test_batches_that_are_none(tmp_path, batch):
    with pytest.raises(BadInput, match="line 2: batch"):
        read(rows(tmp_path, f"a,x,y,int8,latency,1,ms,{batch}", header=f"{HEADER},batch"))


def test_a_setting_is_given_once(tmp_path):
    line = "a,x,y,int8,latency,1,ms,power_cap = 40 W; power_cap=70 W"
    with pytest.raises(BadInput, match="line 2: setting 'power_cap' is given twice"):
        read(rows(tmp_path, line, header=f"{HEADER},settings"))


def test_all_faults_are_named_at_once_and_names_are_unique(tmp_path):
    good = "a,x,y,int8,latency,1,ms"
    with pytest.raises(BadInput, match=r"(?s)3 fault.*line 3.*line 5.*'a' stands there twice"):
        read(rows(tmp_path, good, "b,x,y,int8,latency,1,J", good, "c,x,y,int8,latency,,ms"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f"{HEADER},bach", "unknown column 'bach'.*batch"),
        ("case,target,workload,precision,quantity,value", "no column unit"),
        (f"{HEADER},value", "column 'value' stands there 2 times"),
        (HEADER.replace(",", ";"), "It holds ';': columns are parted by commas"),
    ],
)
def test_columns_that_are_unknown_or_missing(tmp_path, header, message):
    with pytest.raises(BadInput, match=message):
        read(rows(tmp_path, header=header))


def test_files_that_are_none(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(BadInput, match="not a readable CSV"):
        read(tmp_path)
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadInput, match="not a readable CSV"):
        read(binary)
    with pytest.raises(BadInput, match="no rows"):
        read(rows(tmp_path))


@given(text=st.text(max_size=200))
def test_no_text_breaks_the_reader(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "f.csv"
    path.write_text(f"{HEADER}\n{text}", encoding="utf-8", errors="replace", newline="")
    with suppress(BadInput):
        read(path)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_published_measurements_are_complete(kind):
    """Every bundled case says where it was read, and one that is not replayed says why."""
    for m in bundled(kind):
        assert m.source, m.case
        assert m.reason or not isnan(m.value), m.case
        assert m.folder is not None
