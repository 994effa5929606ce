"""The command's refusals; test_convert.py runs the command itself."""

from experiments.convert_command import refused
from neuro.errors import Unsupported


def test_a_refusal_without_a_list_is_one_entry():
    found = refused("net.h5", Unsupported("a map whose values differ"))
    assert found == {
        "network": "net.h5",
        "format": "h5",
        "unsupported": [{"layer": "", "op": "", "reason": "a map whose values differ"}],
    }
