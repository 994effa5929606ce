"""The layout of a record: a comparison as a tree of labelled arrays.

==============================  ==================================================================================
group                           content
==============================  ==================================================================================
/                               coordinates that several groups share: item, code, machine, arm, quantile
/provenance                     attributes: command, versions, platform, commit, hashes
/machines                       title, process, evidence and file of every chip and device
/constants, /sources            every constant with range, unit, source and basis; what the sources are
/workload                       layers of the integer network
/outputs                        labels and predictions
/codes                          accuracy, equality and activity by spike code
/counts/<arm>                   hardware events of every arm that can be priced
/placements/<chip>/<code>/<r>   cores of every layer, and the limits
/arms                           what every arm is
/scenarios/<name>               energy and latency: bands, draws, components; below it the verdicts
==============================  ==================================================================================
"""

import json
from dataclasses import asdict, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.arm import Priced
from experiments.compare import Comparison
from experiments.records import provenance
from experiments.records.record_array import array, labelled, number, whole
from experiments.records.record_hardware import constants, counts, machines, placement, sources
from experiments.run import CodeRun
from experiments.summary import arm_row
from experiments.verdict import Verdict
from neuro.codes import is_exact
from neuro.evaluate import apply
from neuro.graph import Graph, Node, digest
from neuro.layers import Conv, Dense

SCHEMA = "neuro.run/1"
QUANTILES = (0.05, 0.5, 0.95)
DRAWS_KEPT = 256
"""Draws in the record, from which figures are redrawn; bands and P rest on all of them."""


def tree(comparison: Comparison, command: str, created: str) -> xr.DataTree:
    """`comparison` as the tree that a record holds. command: what the user typed; created: ISO 8601."""
    c = comparison
    nodes = {
        "/": _root(c, created),
        "/provenance": _provenance(c, command),
        "/machines": machines(c.machines),
        "/constants": constants(c.machines),
        "/sources": sources(c.machines),
        "/workload": _workload(c.integer),
        "/outputs": _outputs(c),
        "/codes": _codes(c),
        "/arms": _arms(c),
        "/scenarios/chosen": _scenario(c, c.priced),
        "/scenarios/chosen/verdicts": _verdicts(c.verdicts),
    }
    if c.duty is not None:
        nodes["/scenarios/duty"] = _scenario(c, c.duty)
        nodes["/scenarios/duty/verdicts"] = _verdicts(c.duty_verdicts)
    nodes |= {f"/counts/{arm.name}": counts(arm.counts) for arm in c.arms if arm.counts is not None}
    nodes |= {f"/placements/{'/'.join(key)}": placement(p) for key, p in c.placements.items()}
    return xr.DataTree.from_dict(nodes)


def config(comparison: Comparison) -> dict[str, Any]:
    """What decides the result: network, data, machines and options."""
    c = comparison
    return {
        "network": c.network.name,
        "data": {"name": c.dataset.name, "description": c.dataset.description, "items": len(c.dataset.x)},
        "input": {"levels": c.dataset.levels, "layout": c.dataset.layout},
        "machines": [m.name for m in c.machines],
        "options": asdict(c.options),
    }


def _root(c: Comparison, created: str) -> xr.Dataset:
    coords = {
        "item": array("item", np.arange(len(c.dataset.x)), "1", "position of the test item in the data set"),
        "code": array("code", [r.code for r in c.runs], "1", "spike code"),
        "machine": array("machine", [m.name for m in c.machines], "1", "chip or device"),
        "arm": array("arm", [a.name for a in c.arms], "1", "machine, network form, code or precision, regime"),
        "quantile": array("quantile", np.array(QUANTILES), "1", "quantile over the draws"),
    }
    attrs = {
        "Conventions": "CF-1.11",
        "schema": SCHEMA,
        "title": f"{c.network.name} on {len(c.dataset.x):,} items of {c.dataset.name}",
        "created": created,
        "config": json.dumps(config(c), sort_keys=True),
    }
    return xr.Dataset(coords=coords, attrs=attrs)


def _provenance(c: Comparison, command: str) -> xr.Dataset:
    attrs = {
        "command": command,
        "seed": c.options.seed,
        "git_commit": provenance.commit(),
        "versions": json.dumps(provenance.versions(), sort_keys=True),
        "network_sha256": digest(c.network),
        "integer_network_sha256": digest(c.integer),
        "data_sha256": c.dataset.sha256,
    }
    return xr.Dataset(attrs=attrs | provenance.environment())


def _workload(graph: Graph) -> xr.Dataset:
    names = [n.name for n in graph.nodes]
    weights = [n.op.weight.size if isinstance(n.op, Conv | Dense) else 0 for n in graph.nodes]
    return labelled(
        "layer",
        layer=(names, "layer of the integer network"),
        operator=([type(n.op).__name__ for n in graph.nodes], "operator"),
        inputs=([" ".join(n.inputs) for n in graph.nodes], "layers that feed it"),
        shape=(["x".join(map(str, graph.shapes[n])) for n in names], "shape of a sample"),
        values=(np.array([graph.size(n) for n in names]), "values per sample"),
        weights=(np.array(weights), "weights, zeros included"),
        synapses=(np.array([_synapses(graph, n) for n in graph.nodes]), "connections with a weight that is not zero"),
    )


def _synapses(graph: Graph, node: Node) -> int:
    """Pairs of an input and an output value with a non-zero weight between them, padding not counted."""
    if not isinstance(node.op, Conv | Dense):
        return 0
    stored = replace(node.op, weight=(node.op.weight != 0).astype(np.float32), bias=None)
    each = apply(stored, jnp.ones((1, *graph.shapes[node.inputs[0]]), jnp.float32))
    return int(np.asarray(each).astype(np.int64).sum())


def _outputs(c: Comparison) -> xr.Dataset:
    data = {
        "prediction": array(("code", "item"), np.stack([r.predictions for r in c.runs]), "1", "decision by code"),
        "float_accuracy": array((), number(c.float_accuracy), "1", "share of right decisions, float network"),
        "integer_accuracy": array((), number(c.integer_accuracy), "1", "share of right decisions, integer network"),
        "fold_error": array((), c.fold_error, "1", "relative difference between the network and its folded form"),
    }
    if c.dataset.y is not None:
        data["label"] = array("item", c.dataset.y, "1", "true class")
    return xr.Dataset(data)


def _codes(c: Comparison) -> xr.Dataset:
    runs, windows = c.runs, _windows(c)
    names = list(dict.fromkeys(name for r in runs for name in r.by_layer))
    data = labelled(
        "code",
        exact=(np.array([is_exact(r.code) for r in runs], np.int8), "1: equal to the integer network by construction"),
        steps=(np.array([r.steps for r in runs]), "time steps of one inference"),
        accuracy=(np.array([number(c.accuracies[r.code]) for r in runs]), "share of right decisions"),
        checked=(_or_minus_one(runs, "checked"), "values compared with the integer network; -1: no equality claimed"),
        mismatches=(_or_minus_one(runs, "mismatches"), "of them different; -1: no equality claimed"),
        neurons=(np.array([r.neurons for r in runs]), "neurons, inputs included"),
        peak=(np.array([r.peak for r in runs]), "largest membrane seen"),
    )
    data = data.assign_coords(population=array("population", names, "1", "layer of spiking neurons"))
    grid = ("code", "population")
    data["population_spikes"] = array(
        grid, np.array([[r.by_layer.get(n, np.nan) for n in names] for r in runs]), "1", "mean spikes per item"
    )
    for key in ("start", "steps"):
        found = [[getattr(windows[r.code][n], key) if n in windows[r.code] else -1 for n in names] for r in runs]
        what = "first step" if key == "start" else "steps"
        data[f"window_{key}"] = array(
            grid, np.array(found), "1", f"{what} of the emit window; -1: not mapped on a chip"
        )
    for key, what in (("spikes", "spikes"), ("synops", "spikes times the synapses they reach")):
        data[key] = array(("code", "item"), whole(np.stack([getattr(r, key) for r in runs])), "1", what)
    return data


def _windows(c: Comparison) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {r.code: {} for r in c.runs}
    for (_, code, _), placed in c.placements.items():
        found[code] = placed.schedule.windows
    return found


def _or_minus_one(runs: tuple[CodeRun, ...], key: str) -> np.ndarray:
    return np.array([-1 if getattr(r, key) is None else getattr(r, key) for r in runs])


def _arms(c: Comparison) -> xr.Dataset:
    rows = [arm_row(arm, c.priced) for arm in c.arms]

    def column(key: str) -> list[str]:
        return [row[key] or "" for row in rows]

    data = labelled(
        "arm",
        on=(column("machine"), "machine"),
        kind=(column("kind"), "kind of machine"),
        network=(column("network"), "form of the network"),
        spike_code=(column("code"), "spike code, empty where there are no spikes"),
        regime=(column("regime"), "samples in flight"),
        precision=(column("precision"), "number format"),
        batch=(np.array([row["batch"] for row in rows]), "samples in flight together"),
        accuracy=(np.array([number(row["accuracy"]) for row in rows]), "share of right decisions"),
        fits=(np.array([row["fits"] for row in rows], np.int8), "1: the machine can hold and run it"),
        priced=(np.array([arm.counts is not None for arm in c.arms], np.int8), "1: has energy and latency"),
        reason=(column("reason"), "why it does not fit, has no price or is too slow"),
        basis=(column("basis"), "modelled or measured, and what the model was held against"),
        bound=(column("bound"), "what the latency is bound by on a spiking chip, empty elsewhere"),
        units_used=([json.dumps(row["units_used"], sort_keys=True) for row in rows], "cores, copies, chips or devices"),
    )
    return data


def _scenario(c: Comparison, priced: Priced) -> xr.Dataset:
    known = {arm.name: i for i, arm in enumerate(priced.arms)}
    at = np.array([known.get(arm.name, -1) for arm in c.arms])
    draws = min(DRAWS_KEPT, len(priced.energy))  # the first ones: a Sobol sequence is balanced from its start only
    components = list(dict.fromkeys(name for split in priced.components for name in split))
    split = [[one.get(name, np.nan) for name in components] for one in priced.components]

    def spread(values: Any) -> np.ndarray:
        """Rows of the priced arms at the places of all arms, the others NaN."""
        values = np.asarray(values, np.float64)
        result = np.full((len(at), *values.shape[1:]), np.nan)
        result[at >= 0] = values[at[at >= 0]]
        return result

    data: dict[str, xr.Variable] = {}
    for key, unit, nominal in (
        ("energy", "J", [sum(one.values()) for one in priced.components]),
        ("latency", "s", priced.nominal_latency),
    ):
        values = getattr(priced, key)
        data[key] = array(
            ("arm", "quantile"), spread(np.quantile(values, QUANTILES, axis=0).T), unit, f"{key} per inference"
        )
        data[f"{key}_draws"] = array(("arm", "draw"), spread(values[:draws].T), unit, f"{key} per inference by draw")
        data[f"nominal_{key}"] = array("arm", spread(nominal), unit, f"{key} per inference at nominal constants")
    data["interval"] = array("arm", spread(priced.nominal_interval), "s", "time between samples back to back")
    keeps = [i >= 0 and priced.keeps_rate(i) for i in at.tolist()]
    data["keeps_rate"] = array("arm", np.array(keeps, np.int8), "1", "1: done with a sample before the next comes")
    coords = {"draw": array("draw", np.arange(draws), "1", "draw of the constants")}
    if components:
        coords["component"] = array("component", components, "1", "event or power that costs energy")
        what = "energy per inference by component at nominal constants; NaN where an arm has none such"
        data["component_energy"] = array(("arm", "component"), spread(split), "J", what)
    attrs: dict[str, Any] = {"boundary": priced.boundary}
    return xr.Dataset(data, coords, attrs | ({} if priced.rate is None else {"rate_hz": priced.rate}))


def _verdicts(verdicts: tuple[Verdict, ...]) -> xr.Dataset:
    data = labelled(
        "quantity",
        quantity=([v.quantity for v in verdicts], "what is compared"),
        p=(np.array([v.p for v in verdicts]), "share of draws in which the spiking arm is below the rival"),
        p_uncorrelated=(np.array([v.p_uncorrelated for v in verdicts]), "the same with independent constants"),
        p_fully_correlated=(
            np.array([v.p_fully_correlated for v in verdicts]),
            "the same with constants moving together",
        ),
        p_twice=(np.array([v.p_twice for v in verdicts]), "share of draws in which it is at most half the rival"),
        word=([v.word for v in verdicts], "answer"),
        best_snn=([v.best_snn or "" for v in verdicts], "best spiking arm"),
        best_binary_snn=([v.best_binary_snn or "" for v in verdicts], "best spiking arm with binary spikes"),
        best_rival=([v.best_rival or "" for v in verdicts], "best conventional arm"),
    )
    data["ratio"] = array(
        ("quantity", "quantile"), np.array([v.ratio or (np.nan,) * 3 for v in verdicts]), "1", "spiking arm over rival"
    )
    classes = list(dict.fromkeys(name for v in verdicts for name in v.classes))
    if classes:
        data = data.assign_coords(deployment=array("deployment", classes, "1", "deployment class"))
        grid, none = ("quantity", "deployment"), ("", np.nan)
        rival = [[v.classes.get(name, none)[0] for name in classes] for v in verdicts]
        chance = [[v.classes.get(name, none)[1] for name in classes] for v in verdicts]
        data["class_rival"] = array(grid, rival, "1", "best rival of the class")
        data["class_p"] = array(grid, np.array(chance), "1", "share of draws in which the spiking arm is below it")
    ranks = max(len(v.drivers) for v in verdicts)
    if ranks:
        data = data.assign_coords(rank=array("rank", np.arange(ranks), "1", "rank by influence"))
        filled = [[*v.drivers, *[None] * (ranks - len(v.drivers))] for v in verdicts]
        grid = ("quantity", "rank")
        data["driver_machine"] = array(grid, [[d.machine if d else "" for d in row] for row in filled], "1", "machine")
        data["driver_path"] = array(grid, [[d.path if d else "" for d in row] for row in filled], "1", "constant")
        factor = np.array([[d.factor if d else np.nan for d in row] for row in filled])
        data["driver_factor"] = array(grid, factor, "1", "how far the ratio moves between the ends of its range")
    return data
