"""A NeuronGroup of Brian2 as our neurons: its equations integrated over a step, threshold, reset, refractoriness."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from converters.brian2_values import NotConstant, Scope, parsed, statements
from neuro.dynamics import Dynamics, Parameter
from neuro.errors import BadInput


@dataclass(frozen=True, eq=False)
class Cells:
    """model: neurons whose membrane is counted from its reset value. receptors: by variable that spikes add to, its
    number and what one unit of it adds to the membrane in the next step [neuron]."""

    model: Dynamics
    receptors: dict[str, tuple[int, Float[np.ndarray, "neuron"]]]


@dataclass(frozen=True, eq=False)
class _Reset:
    """kind; value: that the membrane is set to, or that is taken from it; raised: other variables and what is added."""

    kind: Literal["hard", "soft"]
    value: np.ndarray
    raised: dict[str, np.ndarray]


def condition(group: Any) -> tuple[str, str, str]:
    """Membrane, comparison (``>`` or ``>=``) and threshold of a NeuronGroup, as code.

    Raises:
        NotConstant: no threshold, or one of another form.
    """
    code = group.events.get("spike")
    tree = parsed(str(code))
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.left, ast.Name):
        sign = {ast.Gt: ">", ast.GtE: ">="}.get(type(tree.ops[0]))
        if sign and tree.left.id in group.variables:
            return tree.left.id, sign, ast.unparse(tree.comparators[0])
    raise NotConstant(f"threshold {code!r}: `variable > constant` or `>=` is taken")


def cells(group: Any, scope: Scope, step: float, direct: bool, later: bool, problems: list[str]) -> Cells | None:
    """The neurons of `group`; None, and why in `problems`, if they have no counterpart.

    direct: spikes change the membrane itself. later: synapses come after resets.
    """
    before, where = len(problems), f"NeuronGroup {group.name!r}"
    equations = group.user_equations
    problems += [f"{where}: {fault}" for fault in _structure(group)]
    try:
        membrane, sign, bound = condition(group)
    except NotConstant as error:
        problems.append(f"{where}: {error}")
        return None

    def tried(what: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except NotConstant as error:
            problems.append(f"{where}: {what}: {error}")
            return None

    threshold = tried("threshold", lambda: scope.of(bound))
    reset = tried("reset", lambda: _reset(group, scope, membrane))
    deaf = tried("refractory", lambda: _refractory(group, scope, step))
    linear = tried("equations", lambda: _linear(group, scope, membrane, step, reset, threshold))
    if len(problems) > before or linear is None:
        return None
    zero, kept, gains, decays, bias = linear
    if (deaf > 1).any() and "unless refractory" not in _flags(equations, membrane):
        problems.append(f"{where}: {membrane} goes on while refractory; mark it (unless refractory)")
    adapting = [name for name in reset.raised if name in gains]
    strange = [name for name in reset.raised if name not in gains] + adapting[1:]
    problems += [f"{where}: a reset changes {name}, which is no adapting current" for name in strange]
    for name in gains:
        # Brian2 loses the spikes that come in the step of the neuron's own, even if it is free again in the next.
        held_too = group._refractory is not False and ((deaf > 1).any() or name not in adapting)
        if held_too and "unless refractory" in _flags(equations, name):
            problems.append(f"{where}: {name} stands still while refractory; only the membrane may: drop its flag")
        if np.any(getattr(group, f"{name}_")[:]):
            problems.append(f"{where}: {name} does not begin at zero; it must")
    currents = [name for name in gains if name not in adapting]
    held = np.maximum(deaf - 1, 0)
    frozen = group._refractory is not False and "unless refractory" in _flags(equations, membrane)
    if direct and (frozen or (reset.kind == "hard" and not later)):
        # Spikes that meet a neuron between its threshold and the end of its refractoriness are lost. Here they are if
        # it is held for one step more, which makes no difference to a membrane at rest.
        if currents or adapting or np.any(bias) or reset.kind == "soft":
            advice = "put resets before synapses" + (" and drop (unless refractory)" if frozen else "")
            problems.append(
                f"{where}: spikes change {membrane} itself; those that come while it is reset are lost, which has no "
                f"counterpart here unless it rests at its reset value without other currents; {advice}"
            )
        held = np.maximum(deaf, 1)
    decay = tuple(_plain(decays[name]) for name in currents) + ((0.0,) if direct else ())
    model = tried("neurons", lambda: _model(
        threshold=_plain(threshold - zero), bias=_plain(bias), decay=_plain(kept),
        current_decay=decay or 0.0, reset=reset.kind, strict=sign == ">", refractory=_plain(held),
        adaptation=_plain(-gains[adapting[0]] * reset.raised[adapting[0]]) if adapting else 0.0,
        adaptation_decay=_plain(decays[adapting[0]]) if adapting else 0.0, adapts="current",
        start=_plain(np.asarray(getattr(group, f"{membrane}_")[:]) - zero),
    ))  # fmt: skip
    if len(problems) > before:
        return None
    receptors = {name: (k, np.broadcast_to(gains[name], group.N)) for k, name in enumerate(currents)}
    if direct:
        receptors[membrane] = (len(currents), np.broadcast_to(kept, group.N))
    return Cells(model, receptors)


def _model(**parameters: Any) -> Dynamics:
    try:
        return Dynamics(**parameters)
    except BadInput as error:
        raise NotConstant(str(error)) from None


def _structure(group: Any) -> list[str]:
    """What a group does beside its equations, threshold and reset; see `brian2_parts.faults` for its parts."""
    found = ["its equations are stochastic"] if group.user_equations.is_stochastic else []
    return found + [f"event {name!r} is not a spike" for name in group.events if name != "spike"]


def _flags(equations: Any, name: str) -> list[str]:
    return list(equations[name].flags) if name in equations.names else []


def _reset(group: Any, scope: Scope, membrane: str) -> _Reset:
    kind, value, raised = None, np.zeros(()), {}
    for left, operation, right in statements(group.event_codes.get("spike") or ""):
        if left == membrane and operation in ("=", "-=") and kind is None:
            kind, value = ("hard" if operation == "=" else "soft"), scope.of(right)
        elif left in group.user_equations.diff_eq_names and operation in ("+=", "-="):
            raised[left] = scope.of(right if operation == "+=" else f"-({right})")
        else:
            raise NotConstant(f"{left} {operation} {right}: `{membrane} = constant` or `-=` is taken")
    if kind is None:
        raise NotConstant(f"{membrane} keeps its value after a spike")
    return _Reset(kind, value, raised)


def _refractory(group: Any, scope: Scope, step: float) -> np.ndarray:
    """Steps from a spike until the membrane moves again [neuron], counted as Brian2 does."""
    given = group._refractory
    if given is False:
        return np.zeros(group.N, int)
    seconds = scope.of(given) if isinstance(given, str) else np.asarray(given, np.float64)
    if seconds.dtype == bool:
        raise NotConstant(f"{given!r} is a condition, not a time")
    return np.broadcast_to(((seconds + 1e-3 * step) / step).astype(int), group.N)


def _linear(
    group: Any, scope: Scope, membrane: str, step: float, reset: _Reset | None, threshold: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray] | None:
    """The value that the membrane is counted from, what it keeps, what one unit of every current adds to it and what
    that keeps, and the bias of a step."""
    from brian2.parsing.sympytools import sympy_to_str
    from brian2.stateupdaters.base import UnsupportedEquationsException
    from brian2.stateupdaters.exact import get_linear_system

    equations, variables = group.user_equations, group.variables
    if reset is None or threshold is None:
        return None
    zero = reset.value if reset.kind == "hard" else threshold - reset.value  # so that a soft reset takes the threshold
    try:
        order, matrix, _ = get_linear_system(equations, variables)
    except (UnsupportedEquationsException, ValueError) as error:
        raise NotConstant(str(error)) from None
    codes = {name: expression.code for name, expression in equations.get_substituted_expressions(variables)}
    slope = {
        (row, column): scope.of(sympy_to_str(matrix[i, j]))
        for i, row in enumerate(order)
        for j, column in enumerate(order)
    }
    currents = [name for name in order if name != membrane]
    for name in currents:
        if others := [o for o in order if o != name and np.any(slope[name, o])]:
            raise NotConstant(f"{name} follows {', '.join(others)}; only the membrane may follow others")
        at_rest = scope.of(codes[name], given=dict.fromkeys(order, 0.0))
        if np.any(at_rest):
            raise NotConstant(f"{name} does not decay to zero")
    still = dict.fromkeys(currents, 0.0) | {membrane: zero}
    drift = scope.of(codes[membrane], given=still) if membrane in codes else np.zeros(())
    method = _method(group)
    size = group.N
    kept, bias, gains, decays = np.ones(size), np.broadcast_to(drift, size) * step, {}, {}
    if membrane in order:
        kept, bias = _after(slope[membrane, membrane], drift, 0.0, step, size, method)[:2]
    for name in currents:
        leak = slope.get((membrane, membrane), np.zeros(()))
        reach = slope.get((membrane, name), np.zeros(()))
        _, gains[name], decays[name] = _after(leak, reach, slope[name, name], step, size, method)
    return np.broadcast_to(zero, size), kept, gains, decays, bias


def _after(
    leak: Any, reach: Any, decay: Any, step: float, size: int, method: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A step of x' = leak x + reach y, y' = decay y: what x keeps, what it takes of y, and what y keeps, [neuron]."""
    columns = np.stack([np.broadcast_to(np.asarray(each, np.float64), size) for each in (leak, reach, decay)], axis=1)
    kinds, which = np.unique(columns, axis=0, return_inverse=True)
    system = np.zeros((len(kinds), 2, 2))
    system[:, 0, 0], system[:, 0, 1], system[:, 1, 1] = kinds.T * step
    moved = np.eye(2) + system if method == "euler" else expm(system)
    moved = moved[which.reshape(-1)]
    return moved[:, 0, 0], moved[:, 0, 1], moved[:, 1, 1]


def _method(group: Any) -> str:
    """How Brian2 integrates: ``exact`` or ``euler``."""
    from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException

    choice = group.method_choice
    for name in (choice,) if isinstance(choice, str) else choice or ("exact",):
        if name in ("exact", "linear", "euler"):
            try:
                StateUpdateMethod.stateupdaters[name](group.equations, group.variables)
            except UnsupportedEquationsException:
                continue
            return "euler" if name == "euler" else "exact"
    raise NotConstant(f"method {choice!r}: exact and euler are taken")


def _plain(value: Any) -> Parameter:
    """One number where all neurons have the same."""
    array = np.asarray(value, np.float64)
    return float(array.flat[0]) if np.ptp(array) == 0 else array
