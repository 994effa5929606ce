"""Arguments that no command can use, and what is refused before any work is done."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from experiments import measured


@pytest.mark.parametrize(
    "words",
    [("price", "x" * 5000), ("report", "x" * 5000), ("compare", "digits-cnn", "--data", "x" * 5000)],
    ids=["network", "record", "data"],
)
def test_a_name_that_no_file_can_have_is_named_in_short(neuro, words):
    code, _, err = neuro(*words)
    assert code == 2
    assert err == f"neuro: {'x' * 40}...: a name longer than a file may have.\n"


def test_a_file_name_that_is_no_text_is_refused_before_the_work(neuro, tmp_path):
    """A record could not hold it."""
    code, _, err = neuro("validate", "--cases", tmp_path / os.fsdecode(b"b\xff.csv"))
    assert code == 2
    assert "b\\udcff.csv: the name is not UTF-8; rename the file." in err


def test_the_version_is_that_of_the_package(neuro):
    assert neuro("--version") == (0, f"{version('neuro-verdict')}\n", "")


@pytest.mark.parametrize("network", ["digits-cnn", "net.py:network"])
def test_a_negative_seed_of_a_map_is_refused(neuro, network):
    code, _, err = neuro("map", network, "--chip", "loihi2", "--seed", "-1")
    assert code == 2
    assert "--seed -1 is negative; give 0 or more" in err


def test_a_place_for_measurements_is_tried_before_they_are_made(neuro, monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "carry_out", lambda *arguments: pytest.fail("measured in vain"))
    code, _, err = neuro("measure", "digits-cnn", "--out", tmp_path)
    assert code == 2
    assert f"{tmp_path}: is a folder" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("words", [["chips"], ["codes", "--json"]])
def test_output_to_a_full_disk_is_said_without_a_traceback(words):
    code = f"import sys; from experiments import cli; sys.argv = ['neuro', *{words}]; cli.main()"
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 2
    assert ran.stderr == "neuro: the output cannot be written: No space left on device.\n"
