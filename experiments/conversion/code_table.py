"""What ``neuro codes`` prints: every spike code, and which chips can run it at what cost."""

from typing import Any, get_args

from rich.table import Table

from experiments.terminal import screen
from neuro.capability import Method, Realisation, realise, realise_neurons
from neuro.chip import Chip, known, load
from neuro.codes import CODES, Code, is_binary, is_exact, steps

LEVELS, RATE_STEPS = 15, 64
"""For which the steps are given: those that ``neuro compare`` takes by default."""

WORDS: dict[Code, tuple[str, str]] = {
    "unary": ("V += W s", "after the window, L times: s = [V >= th], V -= th s"),
    "bits": ("V = 2 V + W s", "after the window, k = K-1..0: s = [V >= th 2^k], V -= th 2^k s"),
    "naf": ("V = 2 V + W s", "after the window, k = K..0: s in -1, 0, 1, V -= th 2^k s"),
    "ttfs": ("I += W s, V += I", "after the window, once: at the first t with V >= th (L - t)"),
    "graded": ("V += W s", "after the window, once: s = floor(V/th), at most L"),
    "rate": ("V += W s + B each step", "in every step: s = [V >= th], V -= th s"),
}
"""Receiver and sender. L: levels, K: their bits."""

METHODS: dict[Method, tuple[str, bool, bool]] = {
    "burst": ("in every step: s = floor(V/th), at most m; V -= th s", False, False),
    "srp": ("as rate, if a run before ends at V > 0", False, True),
    "cos": ("as rate, from a start that a run before shifts by a spike", False, True),
    "differential": ("in every step: the largest +-th/2^k that V holds to 3/4; worth 1/t", False, False),
    "sd-ternary": ("e = N - S; sign(e) until N is told; S += s", True, False),
    "sd-pow2": ("e = N - S; sign(e) 2^floor(log2(4 |e|/3)); S += s", True, False),
    "sd-graded": ("e = N - S; e; S += s", True, False),
}
"""Of ``neuro convert --method``: the sender, whether it is exact, and whether its spikes carry nothing."""

MARKS = {"native": "native", "gadget": "gadget", "impossible": "-"}


def table(chips: list[Chip] | None = None) -> dict[str, Any]:
    """Codes with receiver, sender, steps at `LEVELS` and whether exact; chips with a row by code; default all bundled.

    A row holds status, the missing capability if impossible, and what a neuron takes: see `row`.
    """
    return {
        "levels": LEVELS,
        "rate_steps": RATE_STEPS,
        "codes": [
            {
                "code": code,
                "receiver": WORDS[code][0],
                "sender": WORDS[code][1],
                "steps": steps(code, LEVELS if is_exact(code) else RATE_STEPS),
                "exact": is_exact(code),
                "binary": is_binary(code),
            }
            for code in CODES
        ],
        "methods": [
            {"method": method, "sender": sender, "exact": exact, "binary": binary}
            for method, (sender, exact, binary) in METHODS.items()
        ],
        "chips": [
            {
                "chip": chip.name,
                "scope": chip.scope,
                "codes": {code: row(realise(chip, code)) for code in CODES},
                "methods": {method: row(realise_neurons(chip, method)) for method in get_args(Method)},
            }
            for chip in chips or [load(name) for name in known()]
        ],
    }


def row(way: Realisation) -> dict[str, Any]:
    """A realisation in numbers.

    compartments, slots: swept for a neuron, and state that it fills; clock_axons: into every core with gated neurons,
    where one is as strong as any membrane; spikes: sent for one of the code, each with axons and synapses of its own;
    subtractions: in the update that finds the value of a spike; extra_steps: beyond the code's own; none so far.
    """
    if way.status == "impossible":
        return {"status": way.status, "missing": way.missing}
    return {
        "status": way.status,
        "compartments": way.compartments,
        "slots": way.compartments * way.membranes,
        "clock_axons": 2 * way.clock + way.clock_bias,
        "spikes": way.sends,
        "subtractions": 0 if way.divides else steps("bits", LEVELS),
        "extra_steps": 0,
        "streams": way.streams,
        "synapse": way.synop or "synop",
    }


def cost(found: dict[str, Any]) -> str:
    """What a gadget takes, in words."""
    said = [
        (found["compartments"] > 1, f"{found['compartments']} compartments a neuron"),
        (found["clock_axons"] > 0, f"{found['clock_axons']} clock axons a core"),
        (found["spikes"] > 1, f"{found['spikes']} spikes, axons and synapses for one"),
        (found["subtractions"] > 0, f"{found['subtractions']} subtractions in an update"),
    ]
    return ", ".join([words for holds, words in said if holds] + [f"{found['extra_steps']} steps more"])


def print_table(found: dict[str, Any]) -> None:
    """Prints codes, chips and codes, what gadgets take and what chips lack."""
    out = screen()
    rows = Table(box=None, pad_edge=False)
    for heading in ("code", "receiver", "sender", "steps", "exact", "spikes"):
        rows.add_column(heading, justify="right" if heading == "steps" else "left")
    for code in found["codes"]:
        exact = "yes" if code["exact"] else "no"
        carries = "binary" if code["binary"] else "signed or graded"
        rows.add_row(code["code"], code["receiver"], code["sender"], str(code["steps"]), exact, carries)
    out.print(rows)
    out.print(
        f"Steps of one window at L = {found['levels']} levels (K bits); under rate the number asked for.\n", style="dim"
    )
    grid = Table(box=None, pad_edge=False)
    for heading in ("chip", *CODES):
        grid.add_column(heading)
    for chip in found["chips"]:
        name = chip["chip"] if chip["scope"] == "mapped" else f"{chip['chip']} (priced)"
        grid.add_row(name, *(MARKS[chip["codes"][code]["status"]] for code in CODES))
    out.print(grid)
    for code in CODES:
        _explain(out, code, {chip["chip"]: chip["codes"][code] for chip in found["chips"]})
    _print_methods(out, found)


def _print_methods(out: Any, found: dict[str, Any]) -> None:
    """The neurons of ``neuro convert --method`` that are run here and mapped to no chip."""
    out.print("\nMethods of neuro convert with neurons of their own; no chip here is mapped with them.\n", style="dim")
    rows = Table("method", "sender", "exact", "spikes", box=None, pad_edge=False)
    for method in found["methods"]:
        carries = "binary" if method["binary"] else "signed or graded"
        rows.add_row(method["method"], method["sender"], "yes" if method["exact"] else "no", carries)
    out.print(rows)
    for method in found["methods"]:
        name = method["method"]
        native = [chip["chip"] for chip in found["chips"] if chip["methods"][name]["status"] == "native"]
        out.print(f"  {name}: {', '.join(native) or 'no chip'}: native", style="dim")
        _explain(out, name, {chip["chip"]: chip["methods"][name] for chip in found["chips"]})


def _explain(out: Any, code: str, by_chip: dict[str, dict[str, Any]]) -> None:
    """Gadgets of a code with their cost, and what is missing where it cannot run; chips of one kind in one line."""
    lines: dict[str, list[str]] = {}
    for name, one in by_chip.items():
        if one["status"] == "gadget":
            lines.setdefault(f"gadget: {cost(one)}", []).append(name)
        elif one["status"] == "impossible":
            lines.setdefault(f"lacks {one['missing']}", []).append(name)
    for what, names in lines.items():
        out.print(f"  {code}: {', '.join(names)}: {what}", style="dim")
