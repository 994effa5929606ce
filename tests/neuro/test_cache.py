"""Folders for compiled code: which, and whether what lies there may be loaded."""

import os
from pathlib import Path

import pytest

from neuro import cache
from neuro.cache import caches, chosen, programs, trusted


def test_systems_without_users_and_homes_have_caches_too(monkeypatch):
    monkeypatch.setattr(cache, "_user", lambda: None)
    assert caches(Path("mine"))[1].name == "neuro-kernels"
    assert trusted(caches()[-1])

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert [p.name for p in caches()] == ["neuro-kernels"]


def test_programs_are_kept_in_a_folder_of_this_processor(monkeypatch, tmp_path):
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "mine"))
    assert chosen() == tmp_path / "mine"
    here = programs()
    assert here is not None
    assert here.parent == tmp_path / "mine"
    assert here.is_dir()
    assert programs() == here
    monkeypatch.setattr(cache, "processor", lambda: "another")
    elsewhere = programs()
    assert elsewhere not in (None, here)
    assert elsewhere.parent == here.parent


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owner")
def test_programs_are_not_kept_where_others_could_write(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    shared = programs()
    assert shared is not None
    assert shared.parent.parent == tmp_path
    shared.parent.chmod(0o777)
    assert programs() is None
