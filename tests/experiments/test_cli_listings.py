"""The listing commands, called as functions and as words."""

import json

import pytest

from experiments.cli import app
from experiments.cli_listings import chips, codes, devices, listings
from neuro.codes import CODES
from neuro.errors import BadInput


def test_all_of_them_are_commands():
    assert {command.__name__ for command in listings} == {"chips", "devices", "codes", "doctor"}
    assert set(app) >= {command.__name__ for command in listings}


def test_codes_as_a_table_and_as_json(capsys):
    codes()
    printed = capsys.readouterr().out
    assert all(code in printed for code in CODES)
    app(["codes", "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert [code["code"] for code in found["codes"]] == list(CODES)


@pytest.mark.parametrize("listing", [chips, devices])
def test_an_unknown_name_is_refused(listing):
    with pytest.raises(BadInput):
        listing("abacus")
