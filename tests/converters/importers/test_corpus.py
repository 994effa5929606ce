"""Files that once broke an importer, and such as would if it trusted them: each is read or refused with a clear error.

`corpus/FORMAT/NAME.FORMAT.gz`: ``found_...`` are what `experiments.benchmarks.fuzz` found, named after what went wrong
and their number; the others are made by hand and named after what they try.
"""

import gzip
from pathlib import Path

import pytest

from converters.importers import hdf5_file
from experiments.benchmarks.fuzz import IMPORTERS, judged, limited
from neuro.errors import NeuroError

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(p.relative_to(CORPUS) for p in CORPUS.glob("*/*.gz"))
PATIENCE = 4
"""Seconds for HDF5 files here; one of them keeps the library busy for ever."""


@pytest.mark.parametrize("name", FILES, ids=str)
def test_every_file_of_the_corpus_is_read_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_file, "TIME_LIMIT", PATIENCE)
    kind = name.parts[0]
    pytest.importorskip({"onnx": "onnx", "tflite": "tflite"}.get(kind, "h5py"))
    path = tmp_path / f"net.{kind}"
    path.write_bytes(gzip.decompress((CORPUS / name).read_bytes()))
    with limited():
        assert judged(IMPORTERS[kind], path, []) in ("read", "refused")


WORDS = {
    "onnx/external_data_above_the_folder": "outside the model's folder",
    "onnx/external_data_of_a_device": "outside the model's folder",
    "onnx/giant_computed_constant": "the limit is",
    "onnx/many_large_constants": "are left",
    "onnx/nan_weights": "NaN",
    "onnx/circle": "not a valid ONNX model",
    "pt2/weight_in_a_pickle": "pickled, which is never loaded",
    "pt2/weight_outside_the_archive": "is said to lie in",
    "pt2/giant_weight_of_stride_zero": "more than its 6",
    "pt2/product_larger_than_stated": "where the file states",
    "pt2/many_large_constants": "its computed constants exceed",
    "pt2/archive_that_unpacks_to_far_more": "compressed",
    "pt2/nan_weights": "NaN",
    "h5/giant_weight": "more than the file has",
    "h5/weight_of_texts": "no array of numbers",
    "h5/weight_in_another_file": "links are not followed",
    "h5/nan_weights": "NaN",
    "h5/lambda_layer": "Lambda",
    "h5/circle": "in a circle",
    "h5/configuration_of_numbers": "its configuration is no text",
}
"""What the message about a file says."""


@pytest.mark.parametrize("name", WORDS)
def test_what_is_wrong_is_said(name, tmp_path):
    kind = name.split("/")[0]
    pytest.importorskip("onnx" if kind == "onnx" else "h5py")
    path = tmp_path / f"net.{kind}"
    path.write_bytes(gzip.decompress((CORPUS / f"{name}.{kind}.gz").read_bytes()))
    with pytest.raises(NeuroError) as caught:
        IMPORTERS[kind](path)
    assert WORDS[name] in str(caught.value)


def test_files_are_small_and_there_for_every_format():
    assert {p.parts[0] for p in FILES} >= {"onnx", "pt2", "h5", "nir", "net"}
    assert max((CORPUS / p).stat().st_size for p in FILES) < 16_384
