"""From an integer network to a spiking one: a code, and the schedule that it needs."""

from dataclasses import replace

from neuro.codes import Code, steps
from neuro.errors import BadInput
from neuro.graph import Graph
from neuro.layers import FIRING, Input, MaxPool, Threshold
from neuro.schedule import Schedule, Window
from neuro.stages import is_population, populations, sources


def encode(integer: Graph, code: Code, input_steps: int | None = None) -> Graph:
    """`integer` as a spiking graph under `code`.

    Exact codes work in windows: a population emits when the last spike of its last source has arrived, and edges
    from earlier sources are delayed so that all windows end together. Under the rate code every population emits one
    step after its sources, for as many steps: the levels of its thresholds, or `input_steps`.

    Raises:
        BadInput: steps for an exact code, which has its own, or neurons that it does not know; none for a rate code
            whose layers differ in levels.
    """
    input_steps = _input_steps(integer, code, input_steps)
    hard = [n.name for n in integer.nodes if isinstance(n.op, Threshold) and n.op.reset == "zero"]
    if hard and code != "rate":
        raise BadInput(f"{integer.name}: neurons of {hard[0]!r} are reset to zero; the {code} code needs subtraction.")
    windows: dict[str, Window] = {}
    delays: dict[tuple[str, str], int] = {}
    longest = shared = 1
    for node in populations(integer):
        feeds = sources(integer, node.name) if node.inputs else []
        if isinstance(node.op, Input):
            windows[node.name] = Window(0, input_steps)
            longest = windows[node.name].steps
            continue
        end = max(windows[s].end for s in feeds)
        for source in feeds:
            delays[source, node.name] = end - windows[source].end
        if not is_population(node):
            continue
        arrival = max(windows[s].start + delays[s, node.name] for s in feeds) + 1
        if code == "rate" or isinstance(node.op, MaxPool):
            windows[node.name] = Window(arrival, end - arrival + 1)
        else:
            assert isinstance(node.op, FIRING)
            windows[node.name] = Window(end, steps(code, node.op.levels))
            integrating = end - min(windows[s].start + delays[s, node.name] for s in feeds)
            shared = max(shared, integrating + windows[node.name].steps)
        longest = max(longest, windows[node.name].steps)
    total = max(w.end for w in windows.values()) + 1
    periods = (longest if code == "rate" else max(shared, longest), longest)
    return replace(integer, schedule=Schedule(code, windows, delays, total, periods))


def at_once(integer: Graph) -> Graph:
    """`integer` with a schedule in which every population sends its whole value in one step, layer after layer."""

    def narrow(op):
        return replace(op, levels=1) if isinstance(op, (Input, *FIRING)) else op

    binary = replace(integer, nodes=tuple(replace(node, op=narrow(node.op)) for node in integer.nodes))
    return replace(integer, schedule=encode(binary, "bits").schedule)


def _input_steps(integer: Graph, code: Code, asked: int | None) -> int:
    assert isinstance(integer.input.op, Input)
    if code != "rate":
        if asked is not None:
            raise BadInput(
                f"{integer.name}: the {code} code sends its input in steps of its own; leave out the number."
            )
        return steps(code, integer.input.op.levels)
    known = {asked} if asked else {n.op.levels for n in integer.nodes if isinstance(n.op, FIRING)}
    if len(known) != 1:
        raise BadInput(f"{integer.name}: layers have {sorted(known)} levels; give the rate code its number of steps.")
    return known.pop()
