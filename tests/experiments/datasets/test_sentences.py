import gzip

import numpy as np
import pytest

from experiments.datasets.data import load, raw
from experiments.datasets.text import Encoding
from neuro.errors import BadInput


def lines(path, letters="utf-8"):
    return gzip.decompress(path.read_bytes()).decode(letters).strip("\n").split("\n")


def test_sst2(neuro_data):
    found = raw("sst2", neuro_data)
    test, training = (lines(neuro_data / f"text/sst2/{part}.tsv.gz") for part in ("test", "train"))
    assert (len(found.x), len(found.x_calibration)) == (1821, 1000)
    assert [f"{x}\t{y}" for x, y in zip(found.x, found.y, strict=True)] == test
    assert found.x[0] == "no movement , no yuks , not much of anything"
    assert np.bincount(found.y).tolist() == [912, 909]  # as published
    assert found.x_calibration[:2] == [training[0][:-2], training[6920 // 1000][:-2]]


def test_trec(neuro_data):
    found = raw("trec", neuro_data)
    test = lines(neuro_data / "text/trec/TREC.test.all.gz", "latin-1")
    assert (len(found.x), len(found.x_calibration)) == (500, 1000)
    assert [f"{y} {x}" for x, y in zip(found.x, found.y, strict=True)] == test
    assert np.bincount(found.y).tolist() == [138, 94, 9, 65, 81, 113]
    assert found.x_calibration[0] == "How did serfdom develop in and then leave Russia ?"


def test_sms_spam(neuro_data):
    found = raw("sms_spam", neuro_data)
    every = lines(neuro_data / "text/sms_spam.tsv.gz")
    assert (len(found.x), len(found.x_calibration)) == (4574, 1000)
    assert [f"{('ham', 'spam')[y]}\t{x}" for x, y in zip(found.x, found.y, strict=True)] == every[1000:]
    assert [line.split("\t", 1)[1] for line in every[:1000]] == found.x_calibration


def test_texts_need_a_rule(neuro_data):
    with pytest.raises(BadInput, match=r"sst2 holds texts.*input.toml"):
        load("sst2", neuro_data)
    data = load("trec", neuro_data, Encoding({"how": 1, "what": 2}, 1))
    assert data.levels == 2
    assert data.counts[:2].ravel().tolist() == [1, 2]  # How far ...; What county ...


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"rubbish", "not a readable gzipped"),
        (gzip.compress(b"fine\t1\nno label\n", mtime=0), "line 2 has the label 'no label'"),
        (gzip.compress(b"fine\t2\n", mtime=0), "label '2', not one of 0, 1"),
        (gzip.compress(b"\xff\t1\n", mtime=0), "not a readable gzipped"),
        (gzip.compress(b"fine\t1\n", mtime=0)[:-9], "not a readable gzipped"),
        (gzip.compress(b"", mtime=0), "line 1 has the label ''"),
    ],
)
def test_malformed_files(tmp_path, content, match):
    (tmp_path / "text/sst2").mkdir(parents=True)
    for part in ("test", "train"):
        (tmp_path / f"text/sst2/{part}.tsv.gz").write_bytes(content)
    with pytest.raises(BadInput, match=match):
        raw("sst2", tmp_path)


def test_too_few_messages(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text/sms_spam.tsv.gz").write_bytes(gzip.compress(b"ham\ta\nspam\tb\tc\n", mtime=0))
    with pytest.raises(BadInput, match="2 messages"):
        raw("sms_spam", tmp_path)
