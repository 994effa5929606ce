"""ATen operators on constants: what a program computes from its weights alone."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from converters.importers.chain import Refused
from converters.importers.pointwise import OPERATIONS
from neuro.layers import Shape

LIMIT = 2**26
"""Most values of a computed constant."""
TOGETHER = 2**30
"""Most bytes of all computed constants of a network."""
POINTWISE = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "neg": "neg", "exp": "exp", "log": "log", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "pow": "pow", "abs": "abs", "tanh": "tanh", "sigmoid": "logistic", "maximum": "max",
    "minimum": "min", "where": "where", "sign": "sign",
}  # fmt: skip
"""Those that `converters.importers.pointwise` has too."""
COPIES = ("clone", "detach", "detach_", "lift_fresh_copy", "alias", "contiguous", "to", "_to_copy", "type_as")
"""Those that change no value."""


def computed(op: str, arguments: Mapping[str, Any], shape: Shape | None) -> np.ndarray:
    """The result of `op` on arrays and numbers, which has the given shape.

    Raises:
        Refused: it is none of the operators that are computed here, or too large.
    """
    if shape is None or prod(shape) > LIMIT:
        raise Refused(f"a constant of shape {shape or 'unknown'}; the limit is {LIMIT:,} values")
    given = list(arguments.values())
    with np.errstate(all="ignore"):
        if op in POINTWISE and arguments.get("alpha", 1) == 1 and arguments.get("rounding_mode") is None:
            given = given[: 3 if op == "where" else 2]
            _fits(np.broadcast_shapes(*(np.shape(a) for a in given)), shape)
            return _like(OPERATIONS[POINTWISE[op]](*given), given)
        if op in COPIES:
            return np.asarray(given[0])
        if op in _SHAPED:
            return np.asarray(_SHAPED[op](arguments, shape))
    raise Refused("a constant that is computed by this operator")


def _fits(found: Shape, stated: Shape) -> None:
    """Raises ValueError where a result has another shape than the file states, before it takes memory."""
    if found != stated:
        raise ValueError(f"a constant of shape {found}, where the file states {stated}")


def _like(result: Any, given: list[Any]) -> np.ndarray:
    """Numbers beside float32 arrays leave them float32."""
    kinds = [a.dtype for a in given if isinstance(a, np.ndarray)]
    return np.asarray(result, np.result_type(*kinds)) if kinds and kinds[0].kind == "f" else np.asarray(result)


def _norm(arguments: Mapping[str, Any]) -> np.ndarray:
    """g v / |v|, the norm over all axes but `dim`."""
    v, g, dim = arguments["v"], arguments["g"], arguments.get("dim", 0)
    _fits(np.broadcast_shapes(v.shape, np.shape(g)), v.shape)
    axes = tuple(i for i in range(v.ndim) if i != dim % v.ndim)
    return v * (g / np.sqrt((v.astype(np.float64) ** 2).sum(axis=axes, keepdims=True)))


def _permuted(a: Mapping[str, Any]) -> np.ndarray:
    return a["self"].transpose([int(i) for i in a["dims"]])


def _slice(a: Mapping[str, Any]) -> np.ndarray:
    """Every `step`-th value of an axis from `start` to before `end`."""
    cut = slice(a.get("start"), a.get("end"), a.get("step", 1))
    return a["self"][(slice(None),) * (a.get("dim", 0) % a["self"].ndim) + (cut,)]


_SHAPED: dict[str, Callable[[Mapping[str, Any], Shape], np.ndarray]] = {
    "permute": lambda a, _: _permuted(a),
    "transpose": lambda a, _: a["self"].swapaxes(a["dim0"], a["dim1"]),
    "t": lambda a, _: a["self"].T,
    "select": lambda a, _: a["self"].take(a["index"], a["dim"]),
    "slice": lambda a, _: _slice(a),
    "expand": lambda a, shape: np.broadcast_to(a["self"], shape),
    "zeros": lambda _, shape: np.zeros(shape, np.float32),
    "ones": lambda _, shape: np.ones(shape, np.float32),
    "full": lambda a, shape: np.full(shape, a["fill_value"], np.float32),
    "zeros_like": lambda _, shape: np.zeros(shape, np.float32),
    "ones_like": lambda _, shape: np.ones(shape, np.float32),
    "scalar_tensor": lambda a, _: np.asarray(a["s"], np.float32),
    "_weight_norm": lambda a, _: _norm(a).astype(a["v"].dtype),
    "_weight_norm_interface": lambda a, _: _norm(a).astype(a["v"].dtype),
} | {
    op: lambda a, shape: a["self"].reshape(shape)
    for op in ("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten")
}  # fmt: skip
