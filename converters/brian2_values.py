"""Expressions of Brian2 as numbers: names are looked up as Brian2 does, and what may change is refused."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MOVING = frozenset({"t", "t_in_timesteps", "lastspike", "lastupdate", "not_refractory"})
"""Names of Brian2 whose values change during a run."""
FUNCTIONS = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "int": np.trunc, "floor": np.floor, "ceil": np.ceil,
    "clip": np.clip, "sign": np.sign, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
}  # fmt: skip
SPLIT = re.compile(r"^\s*(\w+)\s*([-+*/]?=)\s*(.+?)\s*$")


class NotConstant(Exception):
    """An expression that has no one value during a run, in words."""


def statements(code: str) -> Iterator[tuple[str, str, str]]:
    """(variable, operation, expression) for every statement of a piece of code; operation is ``=``, ``+=``, …"""
    for line in re.split(r"[;\n]", code):
        line = line.partition("#")[0].strip()
        if line:
            found = SPLIT.match(line)
            yield (found[1], found[2], found[3]) if found else (line, "", "")


def parsed(code: str) -> ast.expr:
    """An expression as a tree. Raises NotConstant: it is none; Brian2 takes each statement on a line of its own."""
    try:
        return ast.parse(code.strip(), mode="eval").body
    except SyntaxError:
        raise NotConstant(f"`{code.strip()}` is no expression; write each statement on one line") from None


def names(code: str) -> set[str]:
    """Identifiers of an expression. Raises NotConstant: see `parsed`."""
    return {n.id for n in ast.walk(parsed(code)) if isinstance(n, ast.Name)}


@dataclass(frozen=True, eq=False)
class Scope:
    """What names mean to `group`, a Brian2 group or its synapses: its variables, what Brian2 itself knows, the group's
    namespace, then `known`. changing: identities of the variables that change during a run."""

    group: Any
    known: dict[str, Any]
    changing: frozenset[int] = frozenset()

    def of(self, code: str, given: dict[str, Any] | None = None) -> np.ndarray:
        """The value of an expression in SI units, one number or one for each neuron or synapse.

        given: values of names.

        Raises:
            NotConstant: it depends on something that changes or is unknown, or it is no expression.
        """
        values = dict(FUNCTIONS)
        for name in names(code) - (given or {}).keys() - FUNCTIONS.keys():
            values[name] = self._value(name)
        try:
            return np.asarray(
                eval(compile(code.strip(), "equation", "eval"), {"__builtins__": {}}, values | (given or {}))
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise NotConstant(f"{code}: {error}") from None

    def _value(self, name: str) -> Any:
        from brian2.core.functions import DEFAULT_FUNCTIONS
        from brian2.core.namespace import DEFAULT_CONSTANTS, DEFAULT_UNITS
        from brian2.core.variables import Subexpression
        from brian2.units.fundamentalunits import Quantity

        variables = self.group.variables
        bare = name.removesuffix("_post").removesuffix("_pre")
        if name in MOVING or bare in MOVING or id(variables.get(name)) in self.changing:
            raise NotConstant(f"{name} changes during a run")
        if name in variables:
            if isinstance(variables[name], Subexpression):
                return self.of(variables[name].expr)
            try:
                value = getattr(self.group, f"{name}_")
                return np.asarray(value if np.isscalar(value) else value[:], np.float64)
            except TypeError as error:  # noise has no value
                raise NotConstant(str(error)) from None
        # The order of Brian2, where nobody gives another meaning to `pi` or `ms`.
        spaces = (DEFAULT_CONSTANTS, DEFAULT_UNITS, DEFAULT_FUNCTIONS, self.group.namespace or {}, self.known)
        for space in spaces:
            if name in space:
                value = getattr(space[name], "value", space[name])  # of Brian2's own constants
                if isinstance(value, Quantity | int | float | np.ndarray | np.number):
                    return np.asarray(value, np.float64)
                raise NotConstant(f"{name} is {type(value).__name__}, no constant")
        raise NotConstant(f"{name} is unknown")
