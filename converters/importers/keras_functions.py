"""What Keras's activation functions are here.

Definitions: the Keras API reference, https://keras.io/api/layers/activations and https://keras.io/api/layers (ReLU,
LeakyReLU, ELU). `hard_sigmoid` is min(max(0.2 x + 0.5, 0), 1) up to Keras 2 and x / 6 + 0.5 since Keras 3.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

from converters.importers.keras_call import Layer, custom
from converters.importers.onnx_call import Refused
from neuro.activations import Function
from neuro.layers import Activation, Op, Relu, Softmax

SELU = (1.6732632423543772, 1.0507009873554805)
"""alpha and gain of Klambauer et al. 2017."""
PLAIN = {
    "elu": Function("elu", (1.0,)),
    "selu": Function("selu", SELU),
    "relu6": Function("clip", (0.0, 6.0)),
    "hard_tanh": Function("clip", (-1.0, 1.0)),
    "leaky_relu": Function("leaky_relu", (0.2,)),
    "sigmoid": Function("sigmoid"),
    "tanh": Function("tanh"),
    "softplus": Function("softplus"),
    "softsign": Function("softsign"),
    "silu": Function("silu"),
    "swish": Function("silu"),
    "gelu": Function("gelu"),
    "mish": Function("mish"),
    "hard_silu": Function("hard_swish"),
    "hard_swish": Function("hard_swish"),
}
"""Functions of one definition, without parameters."""
LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax")
"""Layers that apply a function with parameters."""


def named(spec: Any, version: int) -> Op | None:
    """The layer for an `activation` option; None where it changes nothing.

    Raises:
        Refused: an unknown function, or one that the file holds as code.
    """
    if isinstance(spec, Mapping):
        inner = spec.get("config")
        if custom(spec.get("module"), spec.get("registered_name")) or "value" in spec:
            raise Refused("its activation is custom code, which is never run")
        if spec.get("class_name") == "function" or isinstance(inner, str):
            return named(inner if isinstance(inner, str) else "", version)
        if spec.get("class_name") in LAYERS and isinstance(inner, Mapping):
            return of_layer(str(spec["class_name"]), inner)
        raise Refused(f"activation {str(spec.get('class_name'))[:40]!r} is not known")
    match spec:
        case None | "linear":
            return None
        case "relu":
            return Relu()
        case "softmax":
            return Softmax()
        case "hard_sigmoid":
            return Activation(Function("hard_sigmoid", (0.2, 0.5) if version < 3 else (1 / 6, 0.5)))
        case str() if spec in PLAIN:
            return Activation(PLAIN[spec])
    raise Refused(f"activation {str(spec)[:40]!r} is not known")


def of_layer(kind: str, config: Mapping[str, Any]) -> Op:
    """The layer for one of `LAYERS` with its options."""
    match kind:
        case "Softmax":
            if config.get("axis", -1) not in (-1, [-1]):
                raise Refused(f"axis {config.get('axis')}; only the last")
            return Softmax()
        case "ELU":
            alpha = _number(config, "alpha", 1.0)
            return Activation(_function("elu", alpha))
        case "LeakyReLU":
            slope = _number(config, "negative_slope" if "negative_slope" in config else "alpha", 0.3)
            return Activation(_function("leaky_relu", slope))
    slope, threshold = _number(config, "negative_slope", 0.0), _number(config, "threshold", 0.0)
    highest = _number(config, "max_value", inf)
    if threshold or (slope and highest < inf):
        raise Refused(f"threshold {threshold}, negative_slope {slope} and max_value {highest} together")
    if slope:
        return Activation(_function("leaky_relu", slope))
    return Relu() if highest == inf else Activation(_function("clip", 0.0, highest))


def of_activation(layer: Layer) -> Op | None:
    """The layer for the `activation` option of any layer."""
    return named(layer.config.get("activation"), layer.version)


def _function(name: str, *parameters: float) -> Function:
    try:
        return Function(name, parameters)
    except ValueError as error:
        raise Refused(str(error)) from None


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    value = value.get("value") if isinstance(value, Mapping) else value
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{key} {value!r} is no number")
    return float(value)
