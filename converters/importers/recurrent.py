"""Recurrent layers written out step by step: a cell of any framework as layers of a feed-forward graph.

One step of a cell reads an input x [input] and its own state, h [hidden] and for the LSTM c [hidden]; all products of
two tensors are value by value, s the gate's function (a sigmoid unless stated otherwise), W and R matrices:

    LSTM   i, f, o = s(W x + R h + b),  g = tanh(W x + R h + b),  c' = f c + i g,  h' = o tanh(c')
    GRU    r, z = s(W x + R h + b),  n = tanh(W x + b + r (R h + b'))  or  tanh(W x + b + R (r h) + b')
           h' = (1 - z) n + z h
    plain  h' = tanh(W x + R h + b)

(Hochreiter & Schmidhuber 1997 with forget gates; Cho et al. 2014.) Steps share their matrices as the same arrays. A
sigmoid of what is turned around gives 1 - z, so that each product is one of two populations; what is known of the
state before the first step, zeros mostly, ends in biases and scales.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from converters.importers.chain import Refused
from neuro.activations import Function
from neuro.layers import Activation, Add, Concat, Dense, Op, Product, Reshape, Scale, Shape, Slice

LIMIT = 64
"""Most steps of a sequence that are written out."""
SIGMOID, TANH = Activation(Function("sigmoid")), Activation(Function("tanh"))

Emit: TypeAlias = Callable[..., str]
"""Adds a layer, emit(name, op, *inputs), and gives its name."""
Tensor: TypeAlias = str | np.ndarray
"""A layer, or values that are known."""
Kind: TypeAlias = Literal["lstm", "gru", "rnn"]
GATES: dict[Kind, tuple[str, ...]] = {
    "lstm": ("input", "forget", "candidate", "output"),
    "gru": ("reset", "update", "candidate"),
    "rnn": ("candidate",),
}
"""The gates of each cell, in the order of its weights here."""


@dataclass(frozen=True, eq=False)
class Cell:
    """The weights of one cell, by gate as in `GATES`.

    weight [gate, hidden, input], state [gate, hidden, hidden]; bias and state_bias [gate, hidden], beside W x and R h.
    reset_after: whether a GRU's reset gate works on R h, not on h. gate, candidate, squash: the functions of gates, of
    candidates, and of an LSTM's c where it is read.
    """

    kind: Kind
    weight: np.ndarray
    state: np.ndarray
    bias: np.ndarray
    state_bias: np.ndarray
    reset_after: bool = True
    gate: Op = SIGMOID
    candidate: Op = TANH
    squash: Op = TANH

    def __post_init__(self) -> None:
        gates, hidden = len(GATES[self.kind]), self.state.shape[-1]
        fits = self.weight.ndim == 3 and self.weight.shape[:2] == (gates, hidden)
        fits = fits and self.state.shape == (gates, hidden, hidden)
        fits = fits and self.bias.shape == self.state_bias.shape == (gates, hidden)
        if not fits:
            shapes = [a.shape for a in (self.weight, self.state, self.bias, self.state_bias)]
            raise ValueError(f"weights and biases {shapes} are not those of {gates} gates and {hidden} units")


@dataclass(frozen=True)
class Unrolled:
    """The layers that give h [hidden] after every step, in the order of the sequence, and those that give the last h,
    and c of an LSTM."""

    steps: list[str]
    hidden: str
    cell: str | None


def ordered(stacked: np.ndarray, kind: Kind, order: str) -> np.ndarray:
    """[gate * hidden, ...] as [gate, hidden, ...] in the order of `GATES`.

    order: that of the framework, a letter each: i, f, c, o of an LSTM, r, z, n of a GRU, n of a plain cell.
    """
    wanted = {"lstm": "ifco", "gru": "rzn", "rnn": "n"}[kind]
    if len(stacked) % len(order):
        raise ValueError(f"{len(stacked)} rows are not those of {len(order)} gates")
    apart = stacked.reshape(len(order), -1, *stacked.shape[1:])
    return np.ascontiguousarray(apart[[order.index(letter) for letter in wanted]], np.float32)


def check_length(steps: int) -> None:
    """Refuse sequences that are too long to be written out."""
    if steps > LIMIT:
        raise Refused(
            f"a sequence of {steps} steps; up to {LIMIT} are written out: shorten it (join or skip steps), or cut the "
            "recurrent layer off and run it on the host"
        )


def rows(emit: Emit, name: str, sequence: str, steps: int, size: int) -> list[str]:
    """The layers that give each row of a layer [step, size]."""
    check_length(steps)
    if steps == 1:
        return [emit(f"{name}/0/row", Reshape((size,)), sequence)]
    cuts = [emit(f"{name}/{t}/cut", Slice(0, t, t + 1), sequence) for t in range(steps)]
    return [emit(f"{name}/{t}/row", Reshape((size,)), cut) for t, cut in enumerate(cuts)]


def stacked(emit: Emit, name: str, steps: Sequence[str], size: int) -> str:
    """Layers [size] as the rows of one."""
    flat = [emit(f"{name}/{t}/line", Reshape((1, size)), step) for t, step in enumerate(steps)]
    return flat[0] if len(flat) == 1 else emit(f"{name}/lines", Concat(0), *flat)


def joined(emit: Emit, name: str, layers: Sequence[str]) -> str:
    """Layers one behind the other, as the directions of a layer are."""
    return layers[0] if len(layers) == 1 else emit(name, Concat(0), *layers)


def unrolled(
    emit: Emit,
    name: str,
    sequence: Sequence[str],
    cell: Cell,
    reverse: bool = False,
    hidden: Tensor | None = None,
    memory: Tensor | None = None,
) -> Unrolled:
    """The layers of a cell that runs over `sequence`, layers [input], from its end if `reverse`.

    name: layers are called `name/step/what`. hidden, memory: h and an LSTM's c before the first step; None for zeros.

    Raises:
        Refused: a sequence of more than `LIMIT` steps.
    """
    check_length(len(sequence))
    nothing = np.zeros(cell.state.shape[-1], np.float32)
    h, c = (nothing if s is None else s for s in (hidden, memory))
    arrays: dict[tuple[str, str, float], np.ndarray] = {}
    given: dict[int, str] = {}
    for t in reversed(range(len(sequence))) if reverse else range(len(sequence)):
        step = _Step(emit, f"{name}/{t}", sequence[t], cell, arrays)
        match cell.kind:
            case "lstm":
                h, c = step.lstm(h, c)
            case "gru":
                h = step.gru(h)
            case "rnn":
                h = step.fired("candidate", "hidden", cell.candidate, h)
        given[t] = h
    assert isinstance(h, str)
    return Unrolled([given[t] for t in range(len(sequence))], h, c if isinstance(c, str) else None)


@dataclass(frozen=True, eq=False)
class _Step:
    """One step of a cell. x: its input; arrays: weights by part, gate and sign, which all steps share."""

    emit: Emit
    name: str
    x: str
    cell: Cell
    arrays: dict[tuple[str, str, float], np.ndarray]

    def lstm(self, h: Tensor, c: Tensor) -> tuple[str, str]:
        """h and c after the step."""
        gate = self.cell.gate
        i, g = self.fired("input", "input", gate, h), self.fired("candidate", "candidate", self.cell.candidate, h)
        new = self.times("admitted", i, g)
        if _any(c):
            new = self.sum("cell", self.times("kept", self.fired("forget", "forget", gate, h), c), new)
        o = self.fired("output", "output", gate, h)
        return self.times("hidden", o, self.emit(f"{self.name}/squashed", self.cell.squash, new)), new

    def gru(self, h: Tensor) -> str:
        """h after the step."""
        gate = self.cell.gate
        z = self.fired("update", "update", gate, h)
        if _turns(gate):
            rest = self.fired("update", "rest", gate, h, -1.0)
        else:
            rest = self.emit(f"{self.name}/rest", Scale(np.full((), -1, np.float32), np.ones((), np.float32)), z)
        n = self.emit(f"{self.name}/candidate", self.cell.candidate, self._candidate(h))
        new = self.times("new", rest, n)
        return self.sum("hidden", new, self.times("held", z, h)) if _any(h) else new

    def fired(self, gate: str, label: str, function: Op, h: Tensor, sign: float = 1.0) -> str:
        """function(sign (W x + R h + b + b')) of a gate."""
        bias = self.of("bias", gate, sign) + self.of("state_bias", gate, sign)
        if isinstance(h, np.ndarray):
            total = self.dense(f"{label}.x", "weight", gate, bias + self.of("state", gate, sign) @ h, self.x, sign)
        else:
            read = self.dense(f"{label}.x", "weight", gate, bias, self.x, sign)
            total = self.sum(f"{label}.sum", read, self.dense(f"{label}.h", "state", gate, None, h, sign))
        return self.emit(f"{self.name}/{label}", function, total)

    def _candidate(self, h: Tensor) -> str:
        """What a GRU's candidate is the function of."""
        bias, own = self.of("bias", "candidate"), self.of("state_bias", "candidate")
        matrix = self.of("state", "candidate")
        if not _any(h) and not (self.cell.reset_after and own.any()):
            return self.dense("candidate.x", "weight", "candidate", bias + own, self.x)
        r = self.fired("reset", "reset", self.cell.gate, h)
        if self.cell.reset_after:
            state = matrix @ h + own if isinstance(h, np.ndarray) else self.dense("state", "state", "candidate", own, h)
            reset = self.times("reset.state", r, state)
        else:
            bias = bias + own
            reset = self.dense("candidate.h", "state", "candidate", None, self.times("reset.state", r, h))
        return self.sum("candidate.sum", self.dense("candidate.x", "weight", "candidate", bias, self.x), reset)

    def of(self, part: str, gate: str, sign: float = 1.0) -> np.ndarray:
        """A weight or bias of a gate, the same array for every step."""
        key = (part, gate, sign)
        if key not in self.arrays:
            own = getattr(self.cell, part)[GATES[self.cell.kind].index(gate)]
            self.arrays[key] = np.ascontiguousarray(np.float32(sign) * own, np.float32)
        return self.arrays[key]

    def dense(self, label: str, part: str, gate: str, bias: np.ndarray | None, x: str, sign: float = 1.0) -> str:
        """A matrix of a gate times a layer."""
        return self.emit(f"{self.name}/{label}", Dense(self.of(part, gate, sign), bias), x)

    def sum(self, label: str, first: str, second: str) -> str:
        """The sum of two layers."""
        return self.emit(f"{self.name}/{label}", Add(), first, second)

    def times(self, label: str, first: str, second: Tensor) -> str:
        """The product of two tensors value by value."""
        if isinstance(second, np.ndarray):
            return self.emit(f"{self.name}/{label}", Scale(second, np.zeros((), np.float32)), first)
        return times(self.emit, f"{self.name}/{label}", first, second, (self.cell.state.shape[-1],))


def times(emit: Emit, name: str, first: str, second: str, shape: Shape) -> str:
    """The product of two layers of one shape, value by value: matrices of one value each."""
    single = Reshape((*shape, 1, 1))
    sides = [emit(f"{name}.{side}", single, layer) for side, layer in (("left", first), ("right", second))]
    return emit(name, Reshape(shape), emit(f"{name}.product", Product(), *sides))


def _any(state: Tensor) -> bool:
    return isinstance(state, str) or bool(state.any())


def _turns(gate: Op) -> bool:
    """Whether 1 - s(x) = s(-x)."""
    return isinstance(gate, Activation) and (
        gate.function == Function("sigmoid")
        or (gate.function.name == "hard_sigmoid" and gate.function.exact(0.0) == 0.5)
    )
