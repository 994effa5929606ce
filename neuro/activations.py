"""Functions that a layer applies to each value, what is known of their shape, and where they cross a value.

============  ===================================================  ======================
name          y                                                    parameters
============  ===================================================  ======================
clip          min(max(x, low), high)                               low, high
leaky_relu    x if x >= 0 else slope x                             slope in [0, 1]
elu           x if x >= 0 else alpha (e^x - 1)                     alpha > 0
selu          gain (x if x >= 0 else alpha (e^x - 1))              alpha, gain > 0
sigmoid       1 / (1 + e^-x)
tanh          tanh x
hard_sigmoid  min(max(slope x + offset, 0), 1)                     slope > 0, offset
softplus      ln(1 + e^x)
softsign      x / (1 + |x|)
hard_swish    x min(max(x + 3, 0), 6) / 6
silu          x / (1 + e^-x)
gelu          x Phi(x), Phi the normal distribution
gelu_tanh     x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
mish          x tanh(ln(1 + e^x))
sign          -1, 0 or 1
bipolar       scale if x >= 0 else -scale                          scale > 0
quantise      scale (min(max(round(x / scale) + zero, low), high)  scale > 0, zero, low,
              - zero)                                              high
============  ===================================================  ======================

`sign`, `bipolar` and `quantise` have steps of their own; round is to even, as ONNX and NumPy have it.
Functions with thresholds of their own are in `neuro.steps`.
"""

from dataclasses import dataclass
from math import inf, isfinite, pi, sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PARAMETERS = {
    "clip": 2, "leaky_relu": 1, "elu": 1, "selu": 2, "sigmoid": 0, "tanh": 0, "hard_sigmoid": 2, "softplus": 0,
    "softsign": 0, "hard_swish": 0, "silu": 0, "gelu": 0, "gelu_tanh": 0, "mish": 0, "sign": 0, "bipolar": 1,
    "quantise": 4,
}  # fmt: skip
"""The functions that are known, and how many parameters each takes."""
TURNS = {
    "hard_swish": -1.5,
    "silu": -1.2784645427610738,
    "gelu": -0.7517915246935645,
    "gelu_tanh": -0.7524614220710163,
    "mish": -1.1924312145938823,
}
"""Where the functions that first fall and then rise have their minimum; all others never fall."""
ODD = ("tanh", "softsign", "sign", "bipolar")
"""f(-x) = -f(x), apart from x = 0 itself."""
STRICT = ("sigmoid", "tanh", "softplus", "softsign")
"""Functions under which no two values become one: behind the last layer they change no decision."""
FAR = 1e6
"""Crossings are looked for between -FAR and FAR."""


@dataclass(frozen=True)
class Function:
    """One of the functions above with its parameters.

    Raises:
        ValueError: unknown, or parameters that make it no such function.
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in PARAMETERS:
            raise ValueError(f"unknown function {self.name!r}; known are {', '.join(PARAMETERS)}")
        given = self.parameters
        if len(given) != PARAMETERS[self.name] or any(p != p for p in given):
            raise ValueError(f"{self.name} takes {PARAMETERS[self.name]} parameter(s), not {given}")
        if not all(isfinite(p) for p in given) and self.name != "clip":
            raise ValueError(f"{self.name}: parameters {given} must be finite")
        wrong = {
            "clip": lambda low, high: low >= high,
            "leaky_relu": lambda slope: not 0 <= slope <= 1,
            "elu": lambda alpha: alpha <= 0,
            "selu": lambda alpha, gain: alpha <= 0 or gain <= 0,
            "hard_sigmoid": lambda slope, _: slope <= 0,
            "bipolar": lambda scale: scale <= 0,
            "quantise": lambda scale, zero, low, high: scale <= 0 or low >= high,
        }
        if self.name in wrong and wrong[self.name](*given):
            raise ValueError(f"{self.name}: parameters {given} are out of range")

    def __call__(self, x: Float[Array | np.ndarray, "..."]) -> Float[Array | np.ndarray, "..."]:
        """The function of every value, in the type of `x`."""
        return _apply(self.name, self.parameters, x, np if isinstance(x, np.ndarray) else jnp)

    def exact(self, x: np.ndarray | float) -> np.ndarray:
        """The function of every value in float64."""
        return np.asarray(_apply(self.name, self.parameters, np.asarray(x, np.float64), np), np.float64)

    @property
    def turn(self) -> float | None:
        """Where it has its minimum, falling before; None where it never falls."""
        return TURNS.get(self.name)

    @property
    def low(self) -> float:
        """The largest value that it is never below; minus infinity where there is none."""
        if self.turn is not None:
            return float(self.exact(self.turn))
        bounds = {"sigmoid": 0.0, "tanh": -1.0, "hard_sigmoid": 0.0, "softplus": 0.0, "softsign": -1.0, "sign": -1.0}
        match self.name, self.parameters:
            case "clip", (low, _):
                return low
            case "leaky_relu", (slope,):
                return 0.0 if slope == 0 else -inf
            case "elu", (alpha,):
                return -alpha
            case "selu", (alpha, gain):
                return -alpha * gain
            case "bipolar", (scale,):
                return -scale
            case "quantise", (scale, zero, low, _):
                return scale * (low - zero)
        return bounds[self.name]

    @property
    def high(self) -> float:
        """The smallest value that it never exceeds; infinity where there is none."""
        match self.name, self.parameters:
            case "clip", (_, high):
                return high
            case "bipolar", (scale,):
                return scale
            case "quantise", (scale, zero, _, high):
                return scale * (high - zero)
        return 1.0 if self.name in ("sigmoid", "tanh", "hard_sigmoid", "softsign", "sign") else inf

    @property
    def steps(self) -> int | None:
        """How many steps it has of its own, None where it is continuous."""
        match self.name, self.parameters:
            case "sign", _:
                return 2
            case "bipolar", _:
                return 1
            case "quantise", (_, _, low, high):
                return int(high - low)
        return None

    def crossings(self, values: Float[np.ndarray, "..."], rising: bool = True) -> Float[np.ndarray, "..."]:
        """The smallest x from which a rising branch is at `values` or above, or up to which a falling one is.

        Infinite (positive if rising, else negative) where the branch never gets there; minus infinity where a rising
        branch has no x below. Found by bisection in float64; where a function jumps, the place of the jump, on which it
        may still have the lower value.
        """
        if self.steps is not None:
            return self._jumps(values)
        start, end = (self.turn if self.turn is not None else -FAR, FAR) if rising else (-FAR, self.turn or 0.0)
        low, high = np.full(values.shape, start), np.full(values.shape, end)
        for _ in range(100):
            middle = (low + high) / 2
            beyond = self.exact(middle) >= values
            high = np.where(beyond if rising else ~beyond, middle, high)
            low = np.where(beyond if rising else ~beyond, low, middle)
        if rising:
            found = np.where(self.exact(np.full(values.shape, end)) >= values, high, inf)
            return np.where(self.exact(np.full(values.shape, start)) >= values, -inf, found)
        return np.where(self.exact(np.full(values.shape, start)) >= values, low, -inf)

    def _jumps(self, values: np.ndarray) -> np.ndarray:
        """Where a function of steps rises to `values` or above."""
        at = np.zeros(values.shape)
        if self.name == "quantise":
            scale, zero, low, high = self.parameters
            level = np.ceil(values / scale + zero - 1e-9)
            at = np.where(level <= low, -inf, np.where(level > high, inf, (level - 0.5 - zero) * scale))
        return np.where(values <= self.low, -inf, np.where(values > self.high, inf, at))


def _apply(name: str, p: tuple[float, ...], x, xp):
    match name:
        case "clip":
            return xp.minimum(xp.maximum(x, p[0]), p[1])
        case "leaky_relu":
            return xp.where(x >= 0, x, p[0] * x)
        case "elu" | "selu":
            y = xp.where(x >= 0, x, p[0] * xp.expm1(xp.minimum(x, 0)))
            return y if name == "elu" else p[1] * y
        case "sigmoid":
            return (1 + xp.tanh(x / 2)) / 2
        case "tanh":
            return xp.tanh(x)
        case "hard_sigmoid":
            return xp.minimum(xp.maximum(p[0] * x + p[1], 0), 1)
        case "softplus":
            return xp.logaddexp(x, 0 * x)
        case "softsign":
            return x / (1 + xp.abs(x))
        case "hard_swish":
            return x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6
        case "silu":
            return x * (1 + xp.tanh(x / 2)) / 2
        case "gelu":
            return x * (1 + _erf(x / sqrt(2), xp)) / 2
        case "gelu_tanh":
            return x * (1 + xp.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) / 2
        case "mish":
            return x * xp.tanh(xp.logaddexp(x, 0 * x))
        case "sign":
            return xp.sign(x)
        case "bipolar":
            return xp.where(x >= 0, p[0], -p[0]) + 0 * x
        case _:
            scale, zero, low, high = p
            return scale * (xp.minimum(xp.maximum(xp.round(x / scale) + zero, low), high) - zero)


def _erf(x, xp):
    if xp is jnp:
        return jax.scipy.special.erf(x)
    from scipy.special import erf

    return erf(x)
