import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.datasets import text
from experiments.datasets.data import Preprocessing, encoding_of, from_arrays, load, sidecar
from experiments.datasets.text import Encoding, TextRule, Texts, encode, encode_texts, vocabulary, words
from neuro.errors import BadInput

IDS = {"<S>": 1, "<U>": 2, "the": 3, "film": 4, "isn't": 5, "good": 7}


def test_words():
    assert words("The film, isn't GOOD -- 2nd-rate; caf\u00e9!") == [
        "the",
        "film",
        "isn't",
        "good",
        "2nd",
        "rate",
        "caf\u00e9",
    ]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (Encoding(IDS, 6, start=1, unknown=2), [1, 3, 2, 4, 5, 7]),
        (Encoding(IDS, 8, start=1, unknown=2, pad=9), [1, 3, 2, 4, 5, 7, 9, 9]),
        (Encoding(IDS, 6), [3, 4, 5, 7, 0, 0]),
        (Encoding(IDS, 3, unknown=2), [3, 2, 4]),
        (Encoding(IDS, 1, start=1), [1]),
    ],
)
def test_encode(by, expected):
    assert encode(["The odd film isn't good."], by).tolist() == [expected]


@given(
    st.lists(st.text(max_size=30), max_size=4),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
    st.sampled_from([None, 2]),
)
def test_every_text_becomes_one_row_of_known_ids(texts, length, start, unknown):
    by = Encoding(IDS, length, start, unknown, pad=8)
    ids = encode(texts, by)
    assert ids.shape == (len(texts), length)
    assert ids.dtype == np.int32
    assert set(ids.ravel().tolist()) <= {*IDS.values(), 8}
    assert by.largest == 8
    for row in ids:
        inside = row != 8
        assert (np.diff(inside.astype(int)) <= 0).all()  # padding comes last
        assert start is None or row[0] == start


@given(st.lists(st.sampled_from([w for w in IDS if w[0] != "<"]), max_size=12), st.sampled_from([" ", ", ", ". -"]))
def test_known_words_come_back(chosen, between):
    names = {i: word for word, i in IDS.items()}
    row = encode([between.join(chosen).upper()], Encoding(IDS, 20))[0]
    assert [names[i] for i in row[row != 0].tolist()] == chosen


def network_with(path, **files):
    """Bytes of a network with a zip archive appended, as TFLite models carry their vocabulary."""
    path.write_bytes(b"not a zip itself" * 9)
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def test_a_vocabulary_inside_or_beside_the_network(tmp_path):
    network = network_with(tmp_path / "n.tflite", vocab_txt="a 5\nb 6\n", labels_txt="x")
    assert vocabulary(network, "vocab.txt") == {"a": 5, "b": 6}
    (tmp_path / "vocab.txt").write_text("one\ntwo\n\n")
    assert vocabulary(network, "vocab.txt") == {"one": 0, "two": 1}  # what lies beside comes first
    with pytest.raises(BadInput, match=r"no vocabulary 'v.txt' beside it or in it; it holds vocab.txt, labels.txt"):
        vocabulary(network, "v.txt")
    (tmp_path / "m.onnx").write_bytes(b"no archive")
    with pytest.raises(BadInput, match=r"m.onnx: no vocabulary 'v.txt' beside it, and no zip"):
        vocabulary(tmp_path / "m.onnx", "v.txt")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "line 1 is ''"),
        (b"a\nb\na\n", "line 3 is 'a'"),
        (b"a 1\nb\n", "line 2 is 'b'"),
        (b"a\n\nb\n", "line 2 is ''"),
        (b"new york\n", "line 1 is 'new york'"),
        (b"a 1 2\n", "line 1 is 'a 1 2'"),
        (b"a 123456789\n", "line 1"),
        (b"a 16777216\n", "the limit is 16,777,215"),
        (b"\xff\xfe", "not a readable vocabulary"),
    ],
)
def test_malformed_vocabularies(tmp_path, content, match):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(BadInput, match=match) as error:
        vocabulary(tmp_path / "net.onnx", "v.txt")
    assert "v.txt" in str(error.value)


def test_a_vocabulary_too_large_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "LARGEST_VOCABULARY", 100)
    network = network_with(tmp_path / "n.tflite", vocab_txt="a" * 101)
    with pytest.raises(BadInput, match="more than 100 bytes"):
        vocabulary(network, "vocab.txt")


def test_a_damaged_archive(tmp_path):
    network = network_with(tmp_path / "n.tflite", vocab_txt="a\nb\n" * 50)
    content = bytearray(network.read_bytes())
    content[200] ^= 255  # inside the stored vocabulary: its checksum fails
    network.write_bytes(content)
    with pytest.raises(BadInput, match="not a readable vocabulary"):
        vocabulary(network, "vocab.txt")


def test_start_and_unknown_must_be_words(tmp_path):
    (tmp_path / "v.txt").write_text("<S>\na\n")
    network = tmp_path / "n.onnx"
    found = text.encoding(network, TextRule(vocabulary="v.txt", length=4, start="<S>"))
    assert (found.start, found.unknown, found.length, found.largest) == (0, None, 4, 1)
    with pytest.raises(BadInput, match="no word '<U>', which is 'unknown'"):
        text.encoding(network, TextRule(vocabulary="v.txt", length=4, unknown="<U>"))


@pytest.mark.parametrize("fault", [{"length": 0}, {"length": 9999}, {"pad": -1}, {"vocabulary": ""}, {"lenght": 3}])
def test_rules_out_of_range(fault):
    with pytest.raises(ValidationError):
        TextRule.model_validate({"vocabulary": "v.txt", "length": 4} | fault)


def test_counts_are_ids():
    found = encode_texts(Texts(["the film"], np.array([1]), ["film"], "two"), Encoding(IDS, 3))
    data = from_arrays("t", found)
    assert (data.levels, data.step, data.origin) == (7, 1, 0)  # "good" could have come
    assert data.counts.tolist() == [[3, 4, 0]]
    assert data.calibration_counts.tolist() == [[4, 0, 0]]


def test_the_sidecar_names_the_vocabulary(tmp_path):
    network = tmp_path / "n.onnx"
    (tmp_path / "v.txt").write_text("<PAD>\n<S>\ngood\n")
    assert encoding_of(network, sidecar(network)) is None
    side = tmp_path / "n.onnx.input.toml"
    side.write_text('[text]\nvocabulary = "v.txt"\nlength = 4\nstart = "<S>"\n')
    assert encode(["Good"], encoding_of(network, sidecar(network))).tolist() == [[1, 2, 0, 0]]
    side.write_text('[text]\nvocabulary = "v.txt"\n')
    with pytest.raises(BadInput, match=r"text.length"):
        sidecar(network)


def test_the_published_network_reads_sst2(neuro_data):
    """The network's own vocabulary, its own runtime: 82.5 % of the test sentences, as measured by others."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    network = neuro_data / "models/text/sst2_avgword_nlclassifier.tflite"
    rule = TextRule(vocabulary="vocab.txt", length=256, start="<START>", unknown="<UNKNOWN>")
    by = encoding_of(network, Preprocessing(text=rule))
    assert (len(by.ids), by.largest, by.start, by.unknown, by.ids["the"]) == (10_003, 10_002, 1, 2, 3)
    data = load("sst2", neuro_data, by)
    assert (data.shape, data.levels) == ((256,), 10_002)
    run = litert.Interpreter(str(network))
    run.allocate_tensors()
    into, out = run.get_input_details()[0], run.get_output_details()[0]
    right = 0
    for row, label in zip(data.counts, data.y, strict=True):
        run.set_tensor(into["index"], row[None])
        run.invoke()
        right += run.get_tensor(out["index"])[0].argmax() == label
    assert right / len(data.y) == pytest.approx(0.825, abs=0.001)
