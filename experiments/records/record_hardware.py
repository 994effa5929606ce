"""The machines' part of a record: descriptions, constants, sources, hardware events, placements."""

import numpy as np
import xarray as xr

from experiments.arm import Machine
from experiments.records import provenance
from experiments.records.record_array import array, labelled, whole
from neuro.constants import leaves
from neuro.counts import Counts, Path
from neuro.placement import Placement


def machines(listed: tuple[Machine, ...]) -> xr.Dataset:
    """Description and file of every machine."""
    known = [m.description for m in listed]
    texts = [provenance.file_text(d) for d in known]
    return labelled(
        "machine",
        kind=([m.kind for m in listed], "kind of model"),
        title=([d.title for d in known], "full name"),
        year=(np.array([d.year for d in known]), "year of introduction"),
        process=([d.process for d in known], "process node"),
        deployment=([d.deployment for d in known], "deployment class"),
        evidence_energy=([d.evidence.energy for d in known], "what the energy model was held against"),
        evidence_latency=([d.evidence.latency for d in known], "what the latency model was held against"),
        notes=(["\n".join(getattr(d, "notes", [])) for d in known], "remarks of the file"),
        sha256=([provenance.digest(t) for t in texts], "hash of the file text"),
        file=(texts, "text of the machine's file"),
    )


def constants(listed: tuple[Machine, ...]) -> xr.Dataset:
    """Every constant with range, unit, source and basis."""
    rows = [(m.name, path, k) for m in listed for path, k in leaves(m.description)]
    known = [k for _, _, k in rows]
    data = labelled(
        "constant",
        constant=([f"{name}:{path}" for name, path, _ in rows], "machine and key path"),
        of=([name for name, _, _ in rows], "machine"),
        path=([path for _, path, _ in rows], "key path in the machine's file"),
        unit=([k.unit for k in known], "unit of value, low and high"),
        source=([k.source for k in known], "key of the source"),
        basis=([k.basis for k in known], "how the value is known"),
        note=([k.note for k in known], "remark"),
        shared=([k.shared for k in known], "physics that several machines share"),
    )
    for key, what in (("value", "value"), ("low", "5 % of what is believed"), ("high", "95 % of what is believed")):
        numbers = np.array([getattr(k, key) for k in known])
        data[key] = array("constant", numbers, "as given by unit", f"{what}, in SI")
    return data


def sources(listed: tuple[Machine, ...]) -> xr.Dataset:
    """What the sources are, by machine and key."""
    rows = [(m.name, key, s) for m in listed for key, s in m.description.sources.items()]
    return labelled(
        "source",
        source=([f"{name}:{key}" for name, key, _ in rows], "machine and key of the source"),
        title=([s.title for _, _, s in rows], "title"),
        year=(np.array([s.year for _, _, s in rows]), "year"),
        doi=([s.doi for _, _, s in rows], "DOI"),
        url=([s.url for _, _, s in rows], "address"),
    )


def counts(counted: Counts) -> xr.Dataset:
    """Hardware events of one arm: by item what costs energy, on average what is waited for."""
    names = list(counted.events)
    data = xr.Dataset(attrs={"batch": counted.batch})
    if names:
        events = np.stack([np.asarray(counted.events[n]) for n in names])
        data = data.assign_coords(event=array("event", names, "1", "hardware event that costs energy"))
        dims = ("event", "item")[: events.ndim]
        data["events"] = array(dims, whole(events), "1", "events of the samples in flight")
    for key, path in (("latency", counted.latency), ("interval", counted.interval)):
        data = data.assign_coords(_path(key, path))
        mean = np.asarray(path.counts, np.float64)
        mean = mean.mean(axis=0) if mean.ndim == 4 else mean
        dims = tuple(f"{key}_{axis}" for axis in ("stage", "resource", "event"))
        data[f"{key}_events"] = array(dims, mean, "1", f"events waited for, mean over items ({key})")
    return data


def _path(key: str, path: Path) -> dict[str, xr.Variable]:
    stages, resources = path.counts.shape[-3:-1]
    return {
        f"{key}_stage": array(f"{key}_stage", np.arange(stages), "1", "stages follow each other"),
        f"{key}_resource": array(f"{key}_resource", np.arange(resources), "1", "the slowest resource decides a stage"),
        f"{key}_event": array(f"{key}_event", list(path.names), "1", "hardware event that takes time"),
    }


def placement(placed: Placement) -> xr.Dataset:
    """Which cores hold which layer, and how full they are."""
    names, limits = list(placed.core), list(placed.used)
    cores = [placed.cores_of(name) for name in names]
    used = np.stack([placed.used[limit] for limit in limits])
    data = labelled(
        "layer",
        layer=(names, "layer of spiking neurons"),
        first_core=(np.array([c.min() for c in cores]), "first core of the layer"),
        cores=(np.array([len(c) for c in cores]), "cores of the layer"),
        format=([placed.formats[name] for name in names], "how its synapses are stored"),
    )
    data = data.assign_coords(
        limit=array("limit", limits, "1", "limit of a core"),
        core=array("core", np.arange(used.shape[1]), "1", "core, in the order of the layers"),
    )
    allowed = np.stack([placed.limits[limit] for limit in limits])
    data["site"] = array("core", placed.site, "1", "where on the chip the core lies, numbered along its routers")
    data["used"] = array(("limit", "core"), whole(used), "1", "use of the limit by core")
    data["used_most"] = array("limit", whole(used.max(axis=1)), "1", "use of the limit on the fullest core")
    data["allowed"] = array(("limit", "core"), allowed, "1", "what the core allows; infinite where there is no limit")
    way = placed.realisation
    data.attrs = {
        "cores": placed.number,
        "chips": placed.chips,
        "violations": "\n".join(placed.violations),
        "tiles": placed.tiles,
        "copies": placed.copies,
        "realisation": way.status,
        "compartments_per_neuron": way.compartments,
        "membranes_per_neuron": way.membranes,
        "clock_axons": way.clock,
    }
    return data
