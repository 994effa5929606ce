"""The record on disk: readable without this project, whole or absent, and the same for the same run."""

import filecmp
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from baselines import device
from experiments.compare import Options, compare
from experiments.records import provenance, record
from experiments.records.record_tree import SCHEMA
from neuro import chip
from neuro.errors import BadInput
from neuro.file import check_writable

CREATED = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def path(comparison, tmp_path_factory) -> Path:
    return record.write(comparison, tmp_path_factory.mktemp("runs") / "tiny.h5", "neuro compare tiny", CREATED)


@pytest.fixture(scope="module")
def found(path):
    return record.read(path)


def datasets(path: Path) -> dict[str, h5py.Dataset]:
    """Every array of the file by its name, read by plain h5py."""
    known: dict[str, h5py.Dataset] = {}
    file = h5py.File(path, "r")
    file.visititems(lambda name, item: known.__setitem__(name, item) if isinstance(item, h5py.Dataset) else None)
    return known


def test_every_array_says_what_it_is(path):
    known = datasets(path)
    assert len(known) > 100
    for name, item in known.items():
        assert item.attrs["units"], name
        assert item.attrs["long_name"], name


def test_every_axis_has_a_scale(path):
    known = datasets(path)
    bare = [n for n, d in known.items() if not d.is_scale and any(len(axis) != 1 for axis in d.dims)]
    assert bare == []
    assert {n for n in known if "/" not in n} == {"item", "code", "machine", "arm", "quantile"}


def test_arrays_are_numbers_or_utf8_text_and_numbers_are_packed(path):
    for name, item in datasets(path).items():
        text = h5py.check_string_dtype(item.dtype)
        assert item.dtype.kind in "if" or (text is not None and text.encoding == "utf-8"), name
        assert text or item.ndim == 0 or item.compression == "gzip", name


def test_xarray_sees_labels_and_units(path, comparison):
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        energy = tree["scenarios/chosen/energy"].sel(arm="loihi2/spiking/bits/single", quantile=0.5)
        assert energy.attrs["units"] == "J"
        i = comparison.priced.index("loihi2/spiking/bits/single")
        assert float(energy) == np.median(comparison.priced.energy[:, i])
        assert tree.attrs["schema"] == SCHEMA


def test_rows_come_back_as_they_were(found, comparison):
    assert found.chosen.verdicts == comparison.verdicts
    assert found.duty is not None
    assert found.duty.verdicts == comparison.duty_verdicts
    assert (found.chosen.rate, found.duty.rate) == (None, 10.0)
    assert [a.name for a in found.arms] == [a.name for a in comparison.arms]
    assert [a.reason for a in found.arms] == [a.reason for a in comparison.arms]
    assert [a.units_used for a in found.arms] == [a.units_used for a in comparison.arms]
    assert (found.float_accuracy, found.integer_accuracy) == (comparison.float_accuracy, comparison.integer_accuracy)
    assert [(c.code, c.checked, c.mismatches) for c in found.codes] == [
        (r.code, r.checked, r.mismatches) for r in comparison.runs
    ]
    assert found.config["options"]["seed"] == 0
    assert found.created == CREATED


def test_draws_are_the_first_ones_and_bands_rest_on_all(found, comparison):
    for i, arm in enumerate(comparison.priced.arms):
        kept = found.chosen.energy_draws[arm.name]
        assert np.array_equal(kept, comparison.priced.energy[: len(kept), i])
        band = found.chosen.latency[arm.name]
        assert [band.p5, band.p50, band.p95] == list(np.quantile(comparison.priced.latency[:, i], [0.05, 0.5, 0.95]))


def test_components_add_up_to_the_nominal_energy(found):
    assert found.chosen.components
    for scenario in (found.chosen, found.duty):
        for arm, parts in scenario.components.items():
            assert sum(parts.values()) == pytest.approx(scenario.nominal_energy[arm], rel=1e-12)
            assert ("idle" in parts) == (scenario.rate is not None)


def test_energy_can_be_computed_anew_from_the_file_alone(path):
    """E = mean events x constants / samples in flight + active power x interval, with h5py and NumPy only."""
    with h5py.File(path) as file:
        constants = dict(zip(file["constants/constant"].asstr()[:], file["constants/value"][:], strict=True))
        nominal = file["scenarios/chosen/nominal_energy"][:]
        interval = file["scenarios/chosen/interval"][:]
        checked = 0
        for i, name in enumerate(file["arm"].asstr()[:]):
            if not name.startswith("loihi") or "/spiking/" not in name or name not in file["counts"]:
                continue
            group, machine = file["counts"][name], name.split("/")[0]
            prices = [constants[f"{machine}:energy.{event}"] for event in group["event"].asstr()[:]]
            dynamic = prices @ group["events"][:].mean(axis=1) / group.attrs["batch"]
            static = constants[f"{machine}:power.chip.active"] * interval[i]
            assert dynamic + static == pytest.approx(nominal[i], rel=1e-4), name
            checked += 1
    assert checked >= 6


def test_spikes_are_the_same_by_code_and_by_chip(path):
    """A chip without clock neurons sends the network's spikes and no others."""
    with h5py.File(path) as file:
        for i, code in enumerate(file["code"].asstr()[:]):
            group = file[f"counts/loihi2/spiking/{code}/single"]
            row = list(group["event"].asstr()[:]).index("spike")
            assert group["events"].dtype == np.int64
            assert np.array_equal(group["events"][row], file["codes/spikes"][i])


def test_placements_keep_their_limits(path, comparison):
    with h5py.File(path) as file:
        for key, placed in comparison.placements.items():
            group = file["placements/" + "/".join(key)]
            assert (group["used"][:].max(axis=1) == group["used_most"][:]).all()
            assert (group["used"][:] <= group["allowed"][:]).all()
            assert group["cores"][:].sum() <= group.attrs["cores"] == placed.number


def test_machine_files_are_kept_as_they_are(found):
    texts = {m.name: m.file for m in found.machines}
    assert texts["loihi2"] == (resources.files("neuro.chips") / "loihi2.toml").read_text(encoding="utf-8")
    assert texts["eyeriss_v1"] == (resources.files("baselines.devices") / "eyeriss_v1.toml").read_text(encoding="utf-8")


def test_a_changed_description_is_not_passed_off_as_the_bundled_file():
    known = chip.load("loihi2")
    other = known.model_copy(update={"title": "Loihi 2, changed"})
    assert provenance.file_text(known).startswith("name =")
    assert '"title": "Loihi 2, changed"' in provenance.file_text(other)


def test_a_repeated_run_gives_the_same_file_but_for_its_date(path, network, dataset, comparison, tmp_path):
    chips = [chip.load(m.name) for m in comparison.machines if m.kind == "neuromorphic"]
    devices = [device.load(m.name) for m in comparison.machines if m.kind != "neuromorphic"]
    again = compare(network, dataset, chips, devices, Options(draws=256))
    same = record.write(again, tmp_path / "same.h5", "neuro compare tiny", CREATED)
    assert filecmp.cmp(same, path, shallow=False)
    later = record.write(again, tmp_path / "later.h5", "neuro compare tiny")
    one, two = record.read(path).tree, record.read(later).tree
    assert one.attrs != two.attrs
    assert {**one.attrs, "created": ""} == {**two.attrs, "created": ""}
    two.attrs["created"] = CREATED
    assert one.identical(two)


def test_what_is_unknown_stays_unknown(comparison, tmp_path):
    unlabelled = replace(
        comparison, dataset=replace(comparison.dataset, y=None), float_accuracy=None, integer_accuracy=None,
        accuracies=dict.fromkeys(comparison.accuracies), arms=tuple(replace(a, accuracy=None) for a in comparison.arms),
        duty=None, duty_verdicts=(),
    )  # fmt: skip
    back = record.read(record.write(unlabelled, tmp_path / "run.h5", "neuro compare", CREATED))
    assert (back.float_accuracy, back.integer_accuracy, back.duty) == (None, None, None)
    assert {c.accuracy for c in back.codes} == {a.accuracy for a in back.arms} == {None}
    assert "label" not in back.tree["outputs"].to_dataset()


def test_a_verdict_without_a_pair_comes_back(comparison, tmp_path):
    alone = tuple(replace(v, ratio=None, best_rival=None, classes={}, drivers=(), p=1.0) for v in comparison.verdicts)
    back = record.read(record.write(replace(comparison, verdicts=alone), tmp_path / "run.h5", "neuro", CREATED))
    assert back.chosen.verdicts == alone


def test_a_comparison_in_which_nothing_has_a_price_comes_back(comparison, tmp_path):
    none = replace(
        comparison.priced, arms=(), energy=np.zeros((256, 0)), latency=np.zeros((256, 0)), components=(),
        nominal_latency=(), nominal_interval=(),
    )  # fmt: skip
    arms = tuple(replace(a, counts=None, reason="no price at the board boundary.") for a in comparison.arms)
    bare = replace(comparison, priced=none, duty=none, arms=arms)
    back = record.read(record.write(bare, tmp_path / "run.h5", "neuro", CREATED))
    assert (back.chosen.energy, back.chosen.components, back.chosen.late) == ({}, {}, ())
    assert not any(a.priced for a in back.arms)


def test_text_of_any_language_comes_back(comparison, tmp_path):
    named = replace(comparison, network=replace(comparison.network, name="Ziffern-Netz µβ 数字"))
    assert (
        record.read(record.write(named, tmp_path / "run.h5", "neuro", CREATED)).config["network"] == named.network.name
    )


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_record_and_nothing_else(comparison, path, tmp_path, monkeypatch, error):
    old = tmp_path / "run.h5"
    old.write_bytes(path.read_bytes())

    def break_off(self, part, **options):
        Path(part).write_bytes(b"half a record")
        raise error

    monkeypatch.setattr(xr.DataTree, "to_netcdf", break_off)
    with pytest.raises(BadInput if isinstance(error, OSError) else KeyboardInterrupt):
        record.write(comparison, old, "neuro", CREATED)
    assert os.listdir(tmp_path) == ["run.h5"]
    assert old.read_bytes() == path.read_bytes()


def test_a_failed_rename_leaves_nothing_behind(comparison, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BadInput, match=r"run\.h5: cannot be written: read-only file system"):
        record.write(comparison, tmp_path / "run.h5", "neuro", CREATED)
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"run\.h5: cannot be written"):
        check_writable(tmp_path / "file" / "run.h5")
    with pytest.raises(BadInput, match="is a folder"):
        check_writable(tmp_path)


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    check_writable(tmp_path / "new" / "folder" / "run.h5")
    assert os.listdir(tmp_path / "new" / "folder") == []
    (tmp_path / "old.h5").write_text("last good one")
    check_writable(tmp_path / "old.h5")
    assert (tmp_path / "old.h5").read_text() == "last good one"


def test_what_is_no_record_is_refused(tmp_path, path):
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["x"] = np.arange(3)
    future = tmp_path / "future.h5"
    future.write_bytes(path.read_bytes())
    with h5py.File(future, "r+") as file:
        file.attrs["schema"] = "neuro.run/2"
    measured = tmp_path / "measured.h5"
    measured.write_bytes(path.read_bytes())
    with h5py.File(measured, "r+") as file:
        file.attrs["schema"] = "neuro.validation/1"
    for place, said in (
        (tmp_path / "absent.h5", "no such record"),
        (tmp_path, "no such record"),
        (text, "not a readable HDF5 file"),
        (foreign, "names no schema"),
        (future, r"schema 'neuro\.run/2'; this version of neuro reads 'neuro\.run/1'"),
        (measured, r"holds 'neuro\.validation/1', no comparison"),
    ):
        with pytest.raises(BadInput, match=said) as raised:
            record.read(place)
        assert str(place) in str(raised.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_record_is_refused(tmp_path, path, share):
    whole = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadInput, match=r"cut\.h5"):
        record.read(cut)


@pytest.mark.parametrize("missing", ["arms", "scenarios/chosen/energy", "provenance"])
def test_an_incomplete_record_is_refused(tmp_path, path, missing):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(path.read_bytes())
    with h5py.File(broken, "r+") as file:
        del file[missing]
    with pytest.raises(BadInput, match=r"broken\.h5: a damaged record"):
        record.read(broken)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("schema", np.array([1, 2]), r"has the schema array\(\[1, 2\]\)"),
        ("schema", 3, "has the schema np.int64"),
        ("config", 5, "a damaged record: its configuration is no table: 5"),
        ("config", "[1]", r"a damaged record: its configuration is no table: \[1\]"),
        ("config", "{}", "a damaged record: 'network'"),
    ],
)
def test_attributes_that_are_of_another_kind_are_refused(tmp_path, path, name, value, said):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(path.read_bytes())
    with h5py.File(broken, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(BadInput, match=rf"broken\.h5: {said}"):
        record.read(broken)


def test_a_configuration_has_a_name_of_its_own():
    one = record.config_hash({"levels": 15, "code": "auto", "out": None})
    assert one == record.config_hash({"code": "auto", "out": None, "levels": 15})
    assert one != record.config_hash({"levels": 31, "code": "auto", "out": None})
    assert record.default_path("My net (v2)", one) == Path("runs") / f"my-net-v2-{one}.h5"
    assert len(one) == 8
    assert int(one, 16) >= 0
    assert record.default_path("数字", "0" * 8) == Path("runs/network-00000000.h5")


def test_commit_is_empty_where_there_is_no_checkout(tmp_path):
    assert provenance.commit(tmp_path) == ""
    (tmp_path / ".git").mkdir()  # a broken checkout, or no git at hand
    assert provenance.commit(tmp_path) == ""


def test_a_commit_says_whether_files_were_changed(tmp_path):
    def git(*arguments):
        return provenance._git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = provenance.commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert provenance.commit(tmp_path) == f"{clean}+changes"
