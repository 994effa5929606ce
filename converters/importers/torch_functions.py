"""ATen operators that are functions of each value, as operations of `converters.importers.pointwise`."""

import numpy as np

from converters.importers.chain import Refused
from converters.importers.pointwise import Expression, View
from converters.importers.torch_call import Call

ONE = {
    "sigmoid": "logistic", "tanh": "tanh", "silu": "silu", "mish": "mish", "hardswish": "hard_swish", "abs": "abs",
    "neg": "neg", "exp": "exp", "expm1": "expm1", "log1p": "log1p", "erf": "erf", "square": "square", "sign": "sign",
    "sqrt": "sqrt", "rsqrt": "rsqrt", "log": "log", "floor": "floor", "ceil": "ceil", "logical_not": "not",
}  # fmt: skip
"""Functions of one value without options."""
TWO = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "rsub": "sub", "maximum": "max", "minimum": "min",
    "pow": "pow", "gt": "gt", "ge": "ge", "lt": "lt", "le": "le", "eq": "eq", "ne": "ne", "logical_and": "and",
    "logical_or": "or",
}  # fmt: skip
"""Functions of two values."""
SELU = (1.6732632423543772, 1.0507009873554805)
"""alpha and gain of SELU."""
EVEN = 15.0
"""From here on a softplus is its argument within 1e-6, as it is above its threshold."""


def arithmetic(call: Call, op: str) -> View | Expression:
    """A function of two values."""
    alpha = call.get("alpha", 1)
    build, layer = call.builder, call.step.layer
    if call.get("rounding_mode") is not None:
        raise Refused(f"rounding_mode {call.get('rounding_mode')!r}")
    first, second = (call.sample(name) for name in ("self", "exponent" if op == "pow" else "other"))
    if op == "rsub":
        first, second = second, first
    if alpha != 1:
        second = (
            second * alpha if isinstance(second, np.ndarray | float) else build.pointwise(layer, "mul", [second, alpha])
        )
    return build.pointwise(layer, TWO[op], [first, second])


def clamped(call: Call, op: str) -> View | Expression:
    """The larger of a value and one bound, the smaller of it and another."""
    build, layer = call.builder, call.step.layer
    defaults = {"relu": (0.0, None), "relu6": (0.0, 6.0), "hardtanh": (-1.0, 1.0)}
    low, high = defaults.get(op, (None, None))
    low = call.get("min_val" if op == "hardtanh" else "min", low)
    high = call.get("max_val" if op == "hardtanh" else "max", high)
    x = call.stream("self")
    for bound, side in ((low, "max"), (high, "min")):
        if bound is not None:
            x = build.pointwise(layer, side, [x, float(bound)])
    return x


def function(call: Call, op: str) -> View | Expression:
    """A function of one value with options, and the choice between two by a condition."""
    build, layer = call.builder, call.step.layer
    if op == "where":
        return build.pointwise(layer, "where", [call.sample(name) for name in ("condition", "self", "other")])
    x = call.stream("self")
    match op:
        case "leaky_relu":
            return build.pointwise(layer, op, [x, float(call.get("negative_slope", 0.01))])
        case "prelu":
            return build.pointwise(
                layer, "leaky_relu", [x, call.constant("weight").reshape(-1, *(1,) * (len(x.shape) - 1))]
            )
        case "elu":
            parameters = (call.get("alpha", 1.0), call.get("scale", 1.0), call.get("input_scale", 1.0))
            return build.pointwise(layer, op, [x, *map(float, parameters)])
        case "selu":
            return build.pointwise(layer, "elu", [x, *SELU])
        case "softplus":
            beta, threshold = (float(call.get(name, default)) for name, default in (("beta", 1.0), ("threshold", 20.0)))
            soft = build.pointwise(layer, op, [x, beta])
            if threshold >= EVEN:
                return soft
            above = build.pointwise(layer, "gt", [build.pointwise(layer, "mul", [x, beta]), threshold])
            return build.pointwise(layer, "where", [above, x, soft])
        case "gelu":
            return build.pointwise(layer, "gelu_tanh" if call.get("approximate", "none") == "tanh" else "gelu", [x])
        case "softsign":
            return build.pointwise(layer, op, [x])
    x = build.pointwise(layer, "add", [build.pointwise(layer, "div", [x, 6.0]), 0.5])  # hardsigmoid
    return build.pointwise(layer, "min", [build.pointwise(layer, "max", [x, 0.0]), 1.0])


def cast(call: Call) -> View | Expression:
    """A conversion to another element type; whole numbers are rounded towards zero."""
    x = call.stream("self")
    kind = call.get("dtype", "float32")
    if kind in ("float16", "bfloat16", "bool", "unknown", "uint8", "int8"):
        raise Refused(f"a conversion to {kind}, which loses digits")
    if kind.startswith("int"):
        return call.builder.pointwise(call.step.layer, "truncate", [x])
    return x
