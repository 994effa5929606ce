"""What ``neuro map`` prints: use of every limit, the fullest cores, what the run waits for, who spends the energy."""

from typing import Any

from rich.table import Table
from rich.text import Text

from experiments.terminal import screen
from neuro.units import show

MOST = 24
"""Cores from which only the fullest are printed."""
CUT_FOR = {
    "cores": ", cut into the fewest", "traffic": ", cut for the lowest traffic", "step": ", cut for the shortest step",
}  # fmt: skip


def print_map(summary: dict[str, Any], everything: bool = False) -> None:
    """Prints the map of a network on a chip; everything: every core in full."""
    out, s = screen(), summary
    chips = f" on {s['chips']} chips" if s["chips"] > 1 else ""
    used = f"{s['cores']} of {s['cores_per_chip'] * s['chips']} cores{chips}"
    named = Text.assemble((s["network"], "bold"), " on ", (s["chip"], "bold"))
    out.print(named.append(f", {s['code']} code ({s['realisation']}): {used}{CUT_FOR.get(s['objective'], '')}"))
    if s["scope"] == "priced":
        out.print("This chip is only priced: totals are held against its limits, no core is mapped.", style="dim")
    grades = s["evidence"]
    out.print(f"model held against silicon: energy {grades['energy']}, latency {grades['latency']}", style="dim")
    for broken in s["violations"]:
        out.print(f"violated: {broken}", style="yellow")
    out.print(_limits(s))
    rows = sorted(s["rows"], key=lambda row: -row["full"])
    hidden = 0 if everything else max(0, len(rows) - MOST)
    out.print(_cores(rows if everything else rows[:MOST]))
    if hidden:
        out.print(f"the {MOST} fullest of {len(rows)} cores; --all for all", style="dim")
    arrive = (
        "deliveries an inference of packets that are copied on their way," if s["multicast"] else "packets an inference"
    )
    out.print(
        f"traffic: {s['packets']:,.0f} {arrive} over {s['mean_hops']:.2f} hops each, "
        f"{s['busiest_link_packets']:,.0f} on the busiest link; "
        f"the busiest core works for {show(s['busiest_core_s'], 's')}"
    )
    waits = ", ".join(f"{cause} {show(t, 's')}" for cause, t in s["waits_s"].items())
    out.print(f"time: {show(s['latency_s'], 's')} a sample ({waits})")
    out.print(s["bound"], style="bold")
    if s["detailed"]:
        d = s["detailed"]
        out.print(
            f"played packet by packet, the first sample's steps take {show(d['mean_step_s'], 's')} on average, "
            f"{show(d['longest_step_s'], 's')} at most; senders are held back {show(d['blocked_s'], 's')} in all, the "
            f"fullest link holds {d['messages_on_fullest_link']:.1f} messages"
        )
    if s["deadline"]:
        d = s["deadline"]
        out.print(
            f"ticks of {show(d['tick_s'], 's')}: {d['missed_steps']:.1f} steps an inference overrun theirs; "
            f"a step takes {show(d['mean_step_s'], 's')} on average"
        )
    apart = "of that the events of each layer" if s["regime"] == "single" else "the events of each layer when alone"
    out.print(f"energy: {show(s['energy_j'], 'J')} a sample, power at rest included; {apart}:")
    out.print(_layers(s))
    if s["figure"]:
        out.print(f"figure: {s['figure']}")


def _limits(s: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("limit", "on the fullest core", "allowed", "share"):
        table.add_column(heading, justify="left" if heading == "limit" else "right")
    for row in s["limits"]:
        allowed = row["allowed"]
        share = "" if allowed is None else f"{row['used_most'] / allowed:.0%}"
        shown = "no limit" if allowed is None else f"{allowed:,.0f}"
        table.add_row(row["limit"].replace("_", " "), f"{row['used_most']:,.0f}", shown, share)
    return table


def _cores(rows: list[dict[str, Any]]) -> Table:
    limits = list(rows[0]["used"])
    table = Table(box=None, pad_edge=False)
    used = (limit.replace("_", " ") for limit in limits)
    for heading in ("core", "site", "layer", *used, "full", "packets out", "in", "busy"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in rows:
        used = [f"{row['used'][limit]:,.0f}" for limit in limits]
        packets = [f"{row['packets_out']:,.0f}", f"{row['packets_in']:,.0f}"]
        shown = (*used, f"{row['full']:.0%}", *packets, show(row["busy_s"], "s"))
        table.add_row(str(row["core"]), str(row["site"]), ", ".join(row["layers"]), *shown)
    return table


def _layers(s: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "spikes", "synaptic operations", "energy"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for name, row in s["layers"].items():
        events = row["events"]
        synops = sum(n for event, n in events.items() if event.startswith("synop"))
        table.add_row(name, f"{events.get('spike', 0):,.0f}", f"{synops:,.0f}", show(row["energy_j"], "J"))
    return table
