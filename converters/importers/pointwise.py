"""Functions of one value that a framework writes as several operators: built up, executed, and recognised.

``x * sigmoid(x)``, ``where(x > 0, x, 0.1 x)`` or ``min(max(x, 0), 6)`` are expressions over one tensor. Such an
expression is compared in float64 with the functions that are known; how it was written does not matter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from neuro.activations import Function
from neuro.layers import Activation, Op, Relu, Scale, Shape

TOLERANCE = 1e-6
"""Largest deviation from a known function, in units of 1 + |y|."""
FAR = 1e4
"""Functions are compared on [-FAR, FAR], and beyond it at numbers that are written in them."""
NEAR = 80.0
"""They must be finite on [-NEAR, NEAR]."""
GOLDEN = (5**0.5 - 1) / 2
"""No multiple of it comes near whole numbers or simple fractions, so that steps of no width hide between points."""
SPREAD = 2000
"""Points that have no common step."""
NUMBERS = 16
"""Most numbers written in a function of which products, quotients, sums and differences are points too."""
REACH = 1e6
"""Numbers beyond it are those that stand for infinity."""
LONGEST = 8
"""Most cuts that are tried, counted from the end: no known function is written with more operations in a row."""


@dataclass(frozen=True)
class View:
    """A tensor: the values of a layer, their axes permuted by `order`, then reshaped to `shape` (both per sample)."""

    layer: str
    order: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Expression:
    """`op` of each value of its operands, all of which are numbers or depend on the one tensor `base`.

    op: a key of `OPERATIONS`; name: what the layer would be called.
    """

    op: str
    operands: tuple["Operand", ...]
    base: View
    name: str

    @property
    def shape(self) -> Shape:
        """The shape per sample, which is its base's."""
        return self.base.shape


Operand: TypeAlias = Expression | View | float


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "max": np.maximum, "min": np.minimum, "abs": np.abs, "sign": np.sign, "square": np.square,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh,
    "sqrt": np.sqrt, "pow": np.power, "floor": np.floor, "ceil": np.ceil, "round": np.round, "truncate": np.trunc,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "rsqrt": lambda x: 1 / np.sqrt(x), "logistic": lambda x: (1 + np.tanh(x / 2)) / 2,
    "erf": _erf, "erfc": lambda x: 1 - _erf(x), "is_finite": np.isfinite,
    "where": lambda condition, yes, no: np.where(condition != 0, yes, no),
    "softplus": lambda x, beta=1.0: np.logaddexp(beta * x, 0) / beta,
    "elu": lambda x, alpha=1.0, gain=1.0, inner=1.0: gain * np.where(x >= 0, x, alpha * np.expm1(inner * x)),
    "leaky_relu": lambda x, slope: np.where(x >= 0, x, slope * x),
    "softsign": Function("softsign").exact, "silu": Function("silu").exact, "mish": Function("mish").exact,
    "gelu": Function("gelu").exact, "gelu_tanh": Function("gelu_tanh").exact,
    "hard_swish": Function("hard_swish").exact,
}  # fmt: skip
"""What each operation does, in float64; conditions are 0 or 1."""


def parts(expression: Expression, above: "Expression | View | None" = None) -> list[Expression]:
    """`expression` and all that it is made of, operands first; only what depends on `above` if that is given."""
    found: dict[int, Expression] = {}
    todo: list[tuple[Expression, bool]] = [(expression, False)]
    while todo:
        part, operands_done = todo.pop()
        if operands_done:
            found[id(part)] = part
        elif id(part) not in found and part is not above:
            todo.append((part, True))
            todo += [(o, False) for o in reversed(part.operands) if isinstance(o, Expression)]
    return list(found.values())


def execute(expression: Expression, at: Expression | View, x: np.ndarray) -> np.ndarray:
    """The values of `expression` in float64 where its part `at` has the values `x`."""
    known: dict[int, np.ndarray] = {}

    def value(operand: Operand) -> np.ndarray:
        if operand is at or isinstance(operand, View):
            return x
        return known[id(operand)] if isinstance(operand, Expression) else np.asarray(operand, np.float64)

    with np.errstate(all="ignore"):
        for part in parts(expression, at):
            given = [value(o) for o in part.operands]
            known[id(part)] = np.asarray(OPERATIONS[part.op](*given)).astype(np.float64)
    return np.broadcast_to(value(expression), x.shape)


def cuts(expression: Expression) -> list[Expression | View]:
    """The parts, its base first, on which `expression` depends alone: all ways from the base lead through each.

    In the order of `parts`, these are the ones over which no operand is handed on to a later part.
    """
    order = parts(expression)
    place = {id(part): i for i, part in enumerate(order)}
    found: list[Expression | View] = []
    earliest = len(order)  # of what later parts read
    for i in range(len(order) - 1, -1, -1):
        if i < len(order) - 1 and earliest >= i:
            found.append(order[i])
        reads = [place[id(o)] if isinstance(o, Expression) else -1 for o in order[i].operands if not _number(o)]
        earliest = min([earliest, *reads])
    return [expression.base, *found[::-1]]


def numbers(expression: Expression, above: Expression | View) -> list[float]:
    """The numbers written in what `expression` does with `above`, where its value may turn or jump."""
    operands = (o for part in parts(expression, above) for o in part.operands if o is not above)
    return sorted({float(o) for o in operands if not isinstance(o, Expression | View)})


def _number(operand: Operand) -> bool:
    return not isinstance(operand, Expression | View)


def recognised(f: Callable[[np.ndarray], np.ndarray], written: Sequence[float] = ()) -> tuple[Op, ...] | None:
    """The layer that does what `f` does to float64 values: a scale, a ReLU or another function; None if there is none.

    Empty if `f` changes nothing. Parameters are read off `f` at single points, then all of it is compared, also where
    numbers that are `written` in it may make it turn.
    """
    below, minus, at_zero, one, above = (float(y) for y in f(np.array([-FAR, -1.0, 0.0, 1.0, FAR])))
    grid = np.union1d(_grid(below, above), _turns(written))
    y = f(grid)
    finite = np.isfinite(y)
    if not finite[np.abs(grid) <= NEAR].all():
        return None
    grid, y = grid[finite], y[finite]  # beyond, exponentials of float32 are infinite too
    if _close(y, grid):
        return ()
    if _close(y, (one - at_zero) * grid + at_zero):
        return (Scale(np.asarray(np.float32(one - at_zero)), np.asarray(np.float32(at_zero))),)
    if _close(y, np.maximum(grid, 0)):
        return (Relu(),)
    near, lowest, highest = (float(y) for y in f(np.array([1e-3, -REACH, REACH])))
    bounds = (-np.inf if lowest <= -REACH else lowest, np.inf if highest >= REACH else highest)
    for function in _candidates(below, minus, at_zero, one, near, bounds):
        if _close(y, function.exact(grid)):
            return (Activation(function),)
    return None


def _candidates(
    below: float, minus: float, at_zero: float, one: float, near: float, bounds: tuple[float, float]
) -> Iterator[Function]:
    """Functions that may have these values at -FAR, -1, 0, 1 and 0.001, and are cut at `bounds`."""
    names = ("sigmoid", "tanh", "softplus", "softsign", "hard_swish", "silu", "gelu", "gelu_tanh", "mish", "sign")
    guesses: list[tuple[str, tuple[float, ...]]] = [(name, ()) for name in names]
    guesses += [("clip", bounds), ("leaky_relu", (-minus,)), ("elu", (-below,)), ("bipolar", (one,))]
    if one:
        guesses.append(("selu", (-below / one, one)))
    guesses.append(("hard_sigmoid", ((near - at_zero) * 1e3, at_zero)))
    for name, parameters in guesses:
        try:
            yield Function(name, tuple(_rounded(p) for p in parameters))
        except ValueError:  # parameters out of range: it is no such function
            continue


def _rounded(parameter: float) -> float:
    """The shortest number that is the same in float32, in which frameworks keep them."""
    return float(str(np.float32(parameter)))


def _grid(*bounds: float) -> np.ndarray:
    far = np.geomspace(12, FAR, 60)
    near = [b + d for b in bounds if abs(b) < FAR for d in (-1, -0.1, 0, 0.1, 1)]
    spread = np.arange(SPREAD) * GOLDEN % 1 * 24 - 12
    return np.unique(np.concatenate([np.linspace(-12, 12, 961), spread, spread / 50, far, -far, near]))


def _turns(written: Sequence[float]) -> np.ndarray:
    """Points on, beside and between the numbers written in a function, and what two of them make."""
    given = [n for n in written if np.isfinite(n)][:NUMBERS]
    pairs = [v for a, b in product(given, given) for v in (a + b, a - b, a * b, *((a / b,) if b else ()))]
    single = np.array([*given, *pairs])
    points = np.concatenate([single, -single])
    points = np.unique(points[np.abs(points) <= REACH])
    beside = np.concatenate([points * (1 + 1e-9), points * (1 - 1e-9), points + 1, points - 1, points / 2, points * 2])
    return np.concatenate([points, beside, (points[1:] + points[:-1]) / 2])


def _close(y: np.ndarray, wanted: np.ndarray) -> bool:
    return bool((np.abs(y - wanted) <= TOLERANCE * (1 + np.abs(wanted))).all())
