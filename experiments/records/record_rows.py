"""What tables and figures need of a record, as typed rows."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from experiments.verdict import Driver, Verdict


def held_against(basis: str) -> tuple[str, ...]:
    """What the models of energy and of latency were held against, once where it is the same, as an arm's basis says;
    before it, of a chip that is not mapped, that it is not."""
    how, found, told = basis.partition("; held against: energy ")
    grades = tuple(dict.fromkeys(told.split(", latency "))) if found else ()
    return grades if how == "modelled" else (how, *grades)


@dataclass(frozen=True)
class Band:
    """5, 50 and 95 % of what is believed."""

    p5: float
    p50: float
    p95: float


@dataclass(frozen=True)
class ArmRow:
    """What an arm is. fits: the machine can hold and run it; priced: it has energy and latency; reason: why not. Priced
    without fitting it runs in theory only. bound: what its latency is bound by, on spiking chips.
    """

    name: str
    machine: str
    kind: str
    process: str
    deployment: str
    network: str
    code: str | None
    regime: str
    precision: str
    batch: int
    accuracy: float | None
    fits: bool
    priced: bool
    reason: str | None
    basis: str
    units_used: dict[str, int]
    bound: str | None = None

    @property
    def spiking(self) -> bool:
        """Whether it is on the spiking side of the comparison."""
        return self.network == "spiking"

    @property
    def theory(self) -> str:
        """What it lacks, where it has a price though it does not fit, else nothing."""
        return self.reason or "" if self.priced and not self.fits else ""

    @property
    def form(self) -> str:
        """Form of the network, with its code or number format, in words."""
        return f"spiking, {self.code} code" if self.spiking else f"{self.network}, {self.precision}"

    @property
    def in_flight(self) -> str:
        """How many samples it works on together, in words."""
        words = {"single": "one at a time", "batch1": "one at a time", "best_batch": "best batch"}
        several = f" of {self.batch:,}" if self.batch > 1 else ""
        return words.get(self.regime, self.regime) + several


@dataclass(frozen=True)
class CodeRow:
    """One spike code. checked, mismatches: None where no equality is claimed; spikes, synops: mean per item."""

    code: str
    exact: bool
    steps: int
    accuracy: float | None
    checked: int | None
    mismatches: int | None
    neurons: int
    spikes: float
    synops: float


@dataclass(frozen=True, eq=False)
class Scenario:
    """Costs per inference (J, s) of the priced arms by name, at one boundary and rate (Hz; None: back to back).

    components: J by component at nominal constants; draws: joint draws of energy and latency [draw]; late: arms that
    are not done with a sample before the next one comes.
    """

    boundary: str
    rate: float | None
    energy: dict[str, Band]
    latency: dict[str, Band]
    nominal_energy: dict[str, float]
    components: dict[str, dict[str, float]]
    energy_draws: dict[str, np.ndarray]
    latency_draws: dict[str, np.ndarray]
    late: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class ConstantRow:
    """A constant in SI with its range; source: the key that `Record.sources` explains under its machine."""

    machine: str
    path: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    basis: str
    note: str


@dataclass(frozen=True)
class MachineRow:
    """A chip or device; file: the text of its file."""

    name: str
    kind: str
    title: str
    year: int
    process: str
    deployment: str
    evidence_energy: str
    evidence_latency: str
    notes: str
    sha256: str
    file: str


@dataclass(frozen=True, eq=False)
class Record:
    """A comparison read back. tree: everything, as labelled arrays; the other fields: rows of it.

    duty: the second scenario, None where the user chose a rate. sources: (title, year, DOI or address) by
    ``machine:key``.
    """

    tree: xr.DataTree
    title: str
    created: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    float_accuracy: float | None
    integer_accuracy: float | None
    codes: tuple[CodeRow, ...]
    machines: tuple[MachineRow, ...]
    arms: tuple[ArmRow, ...]
    chosen: Scenario
    duty: Scenario | None
    constants: tuple[ConstantRow, ...]
    sources: dict[str, tuple[str, int, str]]

    @property
    def items(self) -> int:
        """Number of test items."""
        return self.tree.sizes["item"]

    def arm(self, name: str) -> ArmRow:
        """The arm called `name`."""
        return next(a for a in self.arms if a.name == name)


def rows(tree: xr.DataTree) -> Record:
    """`tree`, as laid out by `experiments.records.record_tree`, with its rows.

    Raises:
        KeyError: something is missing. ValueError, TypeError: something is not what it should be.
    """
    outputs = _data(tree, "outputs")
    machines = tuple(MachineRow(**row) for row in _table(tree, "machines", "machine", MachineRow))
    duty = _scenario(tree, "duty") if "/scenarios/duty" in tree.groups else None
    return Record(
        tree=tree,
        title=str(tree.attrs["title"]),
        created=str(tree.attrs["created"]),
        config=_config(tree.attrs["config"]),
        provenance=dict(_data(tree, "provenance").attrs),
        float_accuracy=_known(float(outputs["float_accuracy"])),
        integer_accuracy=_known(float(outputs["integer_accuracy"])),
        codes=_codes(tree),
        machines=machines,
        arms=_arms(tree, {m.name: m for m in machines}),
        chosen=_scenario(tree, "chosen"),
        duty=duty,
        constants=_constants(tree),
        sources=_sources(tree),
    )


def _config(text: Any) -> dict[str, Any]:
    """What the user chose. Raises KeyError and ValueError."""
    found = json.loads(text) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise ValueError(f"its configuration is no table: {str(text)[:40]}")
    for key in ("network", "data", "options"):
        found[key]
    return found


def _data(tree: xr.DataTree, group: str) -> xr.Dataset:
    return tree[group].to_dataset()


def _table(tree: xr.DataTree, group: str, label: str, row: type) -> list[dict[str, Any]]:
    """Columns of `group` that `row` has fields for, by row; the coordinate `label` is the name."""
    node = _data(tree, group)
    columns = {key: node[key].values.tolist() for key in row.__dataclass_fields__ if key in node.data_vars}
    columns["name"] = node[label].values.tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _codes(tree: xr.DataTree) -> tuple[CodeRow, ...]:
    node = _data(tree, "codes")
    found = []
    for i, code in enumerate(node["code"].values.tolist()):
        checked, mismatches = int(node["checked"][i]), int(node["mismatches"][i])
        found.append(
            CodeRow(
                code=code,
                exact=bool(node["exact"][i]),
                steps=int(node["steps"][i]),
                accuracy=_known(float(node["accuracy"][i])),
                checked=None if checked < 0 else checked,
                mismatches=None if mismatches < 0 else mismatches,
                neurons=int(node["neurons"][i]),
                spikes=float(node["spikes"][i].mean()),
                synops=float(node["synops"][i].mean()),
            )
        )
    return tuple(found)


def _arms(tree: xr.DataTree, machines: dict[str, MachineRow]) -> tuple[ArmRow, ...]:
    found = []
    node = _data(tree, "arms")
    for i, name in enumerate(node["arm"].values.tolist()):
        row = {key: node[key].values[i] for key in node.data_vars}
        machine = machines[str(row["on"])]
        found.append(
            ArmRow(
                name=name,
                machine=machine.name,
                kind=str(row["kind"]),
                process=machine.process,
                deployment=machine.deployment,
                network=str(row["network"]),
                code=str(row["spike_code"]) or None,
                regime=str(row["regime"]),
                precision=str(row["precision"]),
                batch=int(row["batch"]),
                accuracy=_known(float(row["accuracy"])),
                fits=bool(row["fits"]),
                priced=bool(row["priced"]),
                reason=str(row["reason"]) or None,
                basis=str(row["basis"]),
                units_used=json.loads(row["units_used"]),
                bound=str(row.get("bound", "")) or None,
            )
        )
    return tuple(found)


def _scenario(tree: xr.DataTree, name: str) -> Scenario:
    data = _data(tree, f"scenarios/{name}")
    arms = data["arm"].values.tolist()
    priced = [(i, arm) for i, arm in enumerate(arms) if np.isfinite(data["energy"].values[i]).all()]

    def bands(key: str) -> dict[str, Band]:
        return {arm: Band(*data[key].values[i].tolist()) for i, arm in priced}

    def draws(key: str) -> dict[str, np.ndarray]:
        return {arm: data[f"{key}_draws"].values[i] for i, arm in priced}

    parts, split = ([], []) if not priced else (data["component"].values.tolist(), data["component_energy"].values)
    return Scenario(
        boundary=str(data.attrs["boundary"]),
        rate=float(data.attrs["rate_hz"]) if "rate_hz" in data.attrs else None,
        energy=bands("energy"),
        latency=bands("latency"),
        nominal_energy={arm: float(data["nominal_energy"].values[i]) for i, arm in priced},
        components={
            arm: {part: float(joules) for part, joules in zip(parts, split[i], strict=True) if np.isfinite(joules)}
            for i, arm in priced
        },
        energy_draws=draws("energy"),
        latency_draws=draws("latency"),
        late=tuple(arm for i, arm in priced if not data["keeps_rate"].values[i]),
        verdicts=_verdicts(_data(tree, f"scenarios/{name}/verdicts")),
    )


def _verdicts(data: xr.Dataset) -> tuple[Verdict, ...]:
    found = []
    for i, quantity in enumerate(data["quantity"].values.tolist()):
        one = {key: data[key].values[i] for key in data.data_vars}
        names = data["deployment"].values.tolist() if "deployment" in data else []
        classes = {
            name: (str(rival), float(p))
            for name, rival, p in zip(names, one.get("class_rival", []), one.get("class_p", []), strict=True)
            if rival
        }
        drivers = tuple(
            Driver(str(machine), str(path), float(factor))
            for machine, path, factor in zip(
                *(one.get(f"driver_{key}", []) for key in ("machine", "path", "factor")), strict=True
            )
            if machine
        )
        ratio = tuple(one["ratio"].tolist())
        found.append(
            Verdict(
                quantity=quantity,
                p=float(one["p"]),
                p_uncorrelated=float(one["p_uncorrelated"]),
                p_fully_correlated=float(one["p_fully_correlated"]),
                p_twice=float(one["p_twice"]),
                best_snn=str(one["best_snn"]) or None,
                best_binary_snn=str(one["best_binary_snn"]) or None,
                best_rival=str(one["best_rival"]) or None,
                ratio=None if np.isnan(ratio[0]) else ratio,
                classes=classes,
                drivers=drivers,
            )
        )
    return tuple(found)


def _constants(tree: xr.DataTree) -> tuple[ConstantRow, ...]:
    node = _data(tree, "constants")
    keys = [key for key in ConstantRow.__dataclass_fields__ if key != "machine"]
    columns = [node["of"].values.tolist(), *(node[key].values.tolist() for key in keys)]
    return tuple(ConstantRow(*row) for row in zip(*columns, strict=True))


def _sources(tree: xr.DataTree) -> dict[str, tuple[str, int, str]]:
    node = _data(tree, "sources")
    keys = ("source", "title", "year", "doi", "url")
    table = zip(*(node[key].values.tolist() for key in keys), strict=True)
    return {source: (title, year, doi or url) for source, title, year, doi, url in table}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
