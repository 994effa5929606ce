"""The fairness contract: what a comparison must do before anyone may build a claim on it, and what this one did."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from experiments.records.record_rows import ArmRow, Record
from experiments.verdict import TOLERANCE

Status = Literal["held", "broken", "not applicable"]
Finding = tuple[Status, str]

OFF_CHIP = ("memory.", "external.")
"""Tables of a device file that describe memory or links outside the chip."""
SKIPS_ZEROS = "energy.local"
"""A constant that only machines have whose multipliers rest on a zero (row-stationary arrays)."""


@dataclass(frozen=True)
class Clause:
    """One clause, whether the comparison keeps it, and what that rests on."""

    number: int
    text: str
    status: Status
    why: str


def clauses(record: Record) -> list[Clause]:
    """All fourteen clauses, judged from the record alone."""
    nothing: Finding = ("not applicable", "no arm has a price here.")
    bare = not _priced(record)
    return [
        Clause(i, text, *(nothing if bare and judge in _OF_PRICES else judge(record)))
        for i, (text, judge) in enumerate(_CLAUSES, 1)
    ]


def _same_task(record: Record) -> Finding:
    pairs = _pairs(record)
    if not pairs:
        return "not applicable", "there is no pair of a spiking and a conventional arm to compare."
    exact = {c.code for c in record.codes if c.exact and c.mismatches == 0}
    apart = []
    for snn, rival in pairs:
        if snn.code in exact and rival.network == "integer":
            continue
        if snn.accuracy is None or rival.accuracy is None:
            apart.append(f"{snn.name} and {rival.name} differ and there are no labels")
        elif abs(snn.accuracy - rival.accuracy) > TOLERANCE:
            apart.append(f"{snn.name} is right in {snn.accuracy:.1%}, {rival.name} in {rival.accuracy:.1%}")
    if apart:
        return "broken", f"all arms saw the same {record.items:,} items, but {'; '.join(apart)}."
    return "held", (
        f"all arms saw the same {record.items:,} items; the ranked pairs have equal outputs, neuron by neuron, "
        f"or accuracies within {TOLERANCE:.0%}."
    )


def _bits(record: Record) -> Finding:
    bits = record.config["options"]["weight_bits"]
    formats = sorted({a.precision for a in _priced(record) if a.network == "integer"})
    if not formats:
        return "broken", f"the spiking side has {bits}-bit weights; no rival ran the integer network."
    return "broken", (
        f"the integer network with {bits}-bit weights runs on both sides (rivals as {', '.join(formats)}), and rivals "
        "also run the float network in the narrowest format they have for it; other widths were tried on neither side."
    )


def _compression(record: Record) -> Finding:
    return (
        "held",
        "both sides have the weights that were imported: this run pruned neither and trained neither for zeros.",
    )


def _best_effort(record: Record) -> Finding:
    rivals = [a for a in _priced(record) if not a.spiking and a.kind != "neuromorphic"]
    if not rivals:
        return "not applicable", "no rival was priced."
    gated = {c.machine for c in record.constants if c.path == SKIPS_ZEROS}
    skipping, dense = ({a.machine for a in rivals if (a.machine in gated) == skips} for skips in (True, False))
    said = [f"zeros measured in this run are skipped on {_list(skipping)}"] if skipping else []
    said += [f"every product is computed, as the hardware does, on {_list(dense)}"] if dense else []
    return "held", f"rivals reuse data in caches and buffers, with the best of several mappings; {'; '.join(said)}."


def _memory(record: Record) -> Finding:
    rivals = {a.machine for a in _priced(record) if a.kind != "neuromorphic"}  # a chip's [memory] is its cores' own
    outside = {c.machine for c in record.constants if c.path.startswith(OFF_CHIP)} & rivals
    if not outside:
        return "held", "every machine keeps weights and activations on its own chip."
    spiking = {a.machine for a in _priced(record) if a.spiking}
    return "held", (
        f"not symmetric, hence named: {_list(outside)} pay for memory or a link outside the chip; "
        f"{_list(spiking - set(outside)) or 'no spiking chip'} hold everything in their cores."
    )


def _node(record: Record) -> Finding:
    priced = {a.machine: a.process for a in _priced(record)}
    if len(set(priced.values())) <= 1:
        return "held", f"all machines are made in {next(iter(priced.values()))}."
    listed = ", ".join(f"{name} ({process})" for name, process in sorted(priced.items()))
    return "broken", f"as built, not scaled to one node: {listed}."


def _batches(record: Record) -> Finding:
    both = {True: {"single", "stream"}, False: {"batch1", "best_batch"}}
    lacking = []
    for machine in dict.fromkeys(a.machine for a in _priced(record)):
        mine = [a for a in record.arms if a.machine == machine and (a.spiking or a.kind != "neuromorphic")]
        for regime in sorted(both[mine[0].spiking] - {a.regime for a in mine if a.priced}):
            running = {a.code for a in mine if a.priced}
            why = next((a.reason for a in mine if a.regime == regime and a.code in running and a.reason), "not tried")
            lacking.append(f"{machine} has no {regime.replace('_', ' ')} arm ({why.rstrip('.')})")
    if lacking:
        return "broken", f"{'; '.join(lacking)}."
    return "held", "every machine is priced with one sample at a time and with as many in flight as suit it best."


def _energies(record: Record) -> Finding:
    rates = [s.rate for s in (record.chosen, record.duty) if s is not None]
    if None in rates and len(rates) > 1:
        rate = next(r for r in rates if r is not None)
        return (
            "held",
            f"components show the dynamic part; totals are given back to back and at {rate:g} inferences a second.",
        )
    given = "back to back" if rates[0] is None else f"at {rates[0]:g} inferences a second"
    return "broken", f"components show the dynamic part, but totals are given {given} only."


def _outside(record: Record) -> Finding:
    parts = record.chosen.components
    hosted = {a.machine for a in _priced(record) if "host_write" in parts.get(a.name, {})}
    charged = {c.machine for c in record.constants if c.path.startswith("overhead.")}
    called = charged & {a.machine for a in _priced(record)}
    inside = [f"writing inputs and reading results on {_list(hosted)}"] if hosted else []
    inside += [f"the overhead of a call on {_list(called)}"] if called else []
    return "held", (
        "outside on both sides: the sensor and the preparation of its data. "
        f"Inside: {'; '.join(inside) or 'nothing beyond the network itself'}. Boundary: {record.chosen.boundary}."
    )


def _idle(record: Record) -> Finding:
    parts = record.chosen.components
    free = [a.name for a in _priced(record) if not parts.get(a.name, {}).get("static", 0.0) > 0]
    if free:
        return "broken", f"no power while working is charged to {', '.join(free)}."
    if not any(s is not None and s.rate is not None for s in (record.chosen, record.duty)):
        return "broken", "power while working is charged to every arm; no scenario has waiting in it."
    return "held", "every arm pays its machine's power while it works and, at a given rate, while it waits."


def _spikes(record: Record) -> Finding:
    mean = ", ".join(f"{c.code} {c.spikes:,.0f}" for c in record.codes)
    return "held", f"counted in the run, item by item; mean spikes per item: {mean}."


def _fits(record: Record) -> Finding:
    chips = dict.fromkeys(a.machine for a in record.arms if a.spiking)
    without = [name for name in chips if not any(a.fits for a in record.arms if a.machine == name)]
    if without:
        return "broken", f"{', '.join(without)} cannot hold or run it on one chip, and several chips are not priced."
    refused = sum(not a.fits for a in record.arms if a.spiking)
    note = f" {refused} arms that a chip cannot run are listed with the reason." if refused else ""
    return "held", f"mapped within the limits of every core on {', '.join(chips)}.{note}"


def _cited(record: Record) -> Finding:
    bare = [
        f"{c.machine}:{c.path}"
        for c in record.constants
        if not c.basis or f"{c.machine}:{c.source}" not in record.sources
    ]
    if bare:
        return "broken", f"no source or basis for {', '.join(bare)}."
    bases = [c.basis for c in record.constants]
    split = ", ".join(f"{bases.count(basis)} {basis}" for basis in sorted(set(bases), key=bases.count, reverse=True))
    exact = sum(c.low == c.high for c in record.constants)
    return "held", f"{len(bases)} constants with basis and source: {split}; {exact} of them are taken as exact."


def _probability(record: Record) -> Finding:
    stated = [v for v in record.chosen.verdicts if v.ratio is not None]
    if not stated:
        return "not applicable", "there is no pair of a spiking and a conventional arm to compare."
    return "held", f"P is given for {', '.join(v.quantity for v in stated)}, a ratio only with its range."


def _pairs(record: Record) -> list[tuple[ArmRow, ArmRow]]:
    names = {(v.best_snn, v.best_rival) for v in record.chosen.verdicts if v.best_snn and v.best_rival}
    return [(record.arm(snn), record.arm(rival)) for snn, rival in sorted(names)]


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _priced(record: Record) -> list[ArmRow]:
    return [a for a in record.arms if a.priced]


_CLAUSES: tuple[tuple[str, Callable[[Record], Finding]], ...] = (
    ("Both sides do the same task on the same test items, with equal outputs or equal accuracy.", _same_task),
    ("Both sides run at the same bit widths, and each also at the widths that suit it best.", _bits),
    ("Pruning and training for sparsity are done on both sides or on neither.", _compression),
    ("Rivals may reuse data, skip zeros and use their best mapping.", _best_effort),
    ("Memory sits at the same distance on both sides, or the difference is named.", _memory),
    ("Machines are of one process node, or scaled to one beside the figures as built.", _node),
    ("One sample at a time and the best throughput are both shown.", _batches),
    ("Energy is shown as dynamic part, as total and at a duty cycle.", _energies),
    ("It is stated whether sensor, encoding, host and read-out are inside the bill.", _outside),
    ("Idle power and leakage are in the bill.", _idle),
    ("Spikes are counted in the run, not assumed.", _spikes),
    ("The network fits on the chip, or several chips are priced.", _fits),
    ("Every constant has a value, a range, a basis and a source.", _cited),
    ("The verdict is a probability, not a bare ratio.", _probability),
)
_OF_PRICES = (_bits, _best_effort, _memory, _node, _batches, _energies, _outside, _idle)
