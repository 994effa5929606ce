"""Online exact codes: neurons that send changes of their value, whenever it changes, until the network is at rest.

============  ======================================  ========================================================
code          a neuron sends d, and S += d            steps to settle after its inputs, at most
============  ======================================  ========================================================
sd_ternary    sign(e)                                 L
sd_pow2       sign(e) 2^floor(log2(4 |e| / 3))        1 + floor(log3(L)), since |e - d| <= |e| / 3
sd_graded     e                                       1
============  ======================================  ========================================================

A neuron adds up what arrives, A += W d, and keeps the value S that it has told its targets (its tracer). It wants
e = clip(floor((A + bias + floor(th/2)) / th), 0, L) - S. Where no neuron wants anything and nothing is on its way,
every S equals the integer reference: A depends on the S of the sources alone, so that on a graph without cycles it
follows from layer to layer, whatever the order and the delays were. The same goes for neurons with another function of
what has arrived, and for the product of two populations: a change dQ adds dQ K, then dK adds (Q + dQ) dK. A max-pool
sends changes of the largest tracer that it has heard of. State is kept from frame to frame: only changes cost events.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neuro.evaluate import apply, waited
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Input, MaxPool, Threshold
from neuro.stages import bounds as window_bounds
from neuro.stages import is_population, populations, propagate, sources

OnlineCode: TypeAlias = Literal["sd_ternary", "sd_pow2", "sd_graded"]


@dataclass(frozen=True)
class Delays:
    """Steps that events wait beyond the one that every event takes: 0..most, drawn for each edge or for each event."""

    most: int = 0
    each_event: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Settled:
    """A batch at rest after one frame.

    tracers: by population, what each neuron has told, the integer reference's value. output: of the read-out. events
    [batch]: sent since the frame came, by population. steps: until the last event had arrived. peak: largest magnitude
    of the membranes, by population; extremes: lowest and highest tracer on the way. synops [batch]: events times the
    synapses that they reach, zero where no fans are given.
    """

    tracers: dict[str, Int[np.ndarray, "batch ..."]]
    output: Int[np.ndarray, "batch ..."]
    events: dict[str, Int[np.ndarray, "batch"]]
    steps: int
    peak: dict[str, int]
    extremes: dict[str, tuple[int, int]]
    synops: Float[np.ndarray, "batch"]


def change(code: OnlineCode, error: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """What a neuron sends that wants its value changed by `error`."""
    if code == "sd_graded":
        return error
    if code == "sd_ternary":
        return np.sign(error)
    size = np.abs(error)
    exponent = np.frexp(4 * size // 3)[1] - 1  # of the highest bit
    return np.where(size > 0, np.sign(error) * 2 ** np.maximum(exponent, 0), 0)


def highest(code: OnlineCode, levels: int) -> int:
    """The largest tracer on the way to a value of 0..levels; by as much as it exceeds them it can be below zero too.

    sd_pow2: a change misses by a third at most, so that a tracer in -L/2..3 L/2 stays there; where L + 1 is a power of
    two, in -(L + 1)/4..L + (L + 1)/4 (enumerated).
    """
    if code != "sd_pow2":
        return levels
    return levels + ((levels + 1) // 4 if levels & (levels + 1) == 0 else levels // 2)


def bounds(graph: Graph, code: OnlineCode) -> dict[str, int]:
    """Largest magnitude of the state of each neuron, as `neuro.stages.bounds`, if no event overtakes another one."""

    def wide(op):
        return replace(op, levels=highest(code, op.levels)) if isinstance(op, (Input, *FIRING)) else op

    return window_bounds(replace(graph, nodes=tuple(replace(n, op=wide(n.op)) for n in graph.nodes)))


def stream(
    graph: Graph,
    frames: Iterable[Int[np.ndarray, "batch ..."]],
    code: OnlineCode,
    delays: Delays | None = None,
    fans: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Settled]:
    """An integer graph run online on frames of input counts, each held until the network is at rest.

    All neurons work in the same step, whatever their layer; an event sent in step t has arrived in step t + 1 + delay.
    At the start a layer waits until the first events can have come: its bias alone says little, and what it would send
    for it would be taken back.
    fans: of `neuro.activity.fan_outs`, to count synaptic operations.
    """
    network: _Network | None = None
    for frame in frames:
        network = network or _Network(graph, code, delays or Delays(), len(frame), fans or {})
        yield network.settle(np.asarray(frame, np.int64))


@dataclass(eq=False)
class _Network:
    """The state of a batch: tracers, what each target has heard of each source, and what is on its way."""

    graph: Graph
    code: OnlineCode
    delays: Delays
    batch: int
    fans: Mapping[str, np.ndarray] = field(default_factory=dict)
    tracers: dict[str, np.ndarray] = field(default_factory=dict)
    heard: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = populations(self.graph)
        self.rng = np.random.default_rng(self.delays.seed)
        self.flight: list[list[tuple[str, str, np.ndarray]]] = [[] for _ in range(self.delays.most + 1)]
        for node in self.order:
            feeds = sources(self.graph, node.name) if node.inputs else []
            self.heard[node.name] = {s: self._zeros(s) for s in feeds}
            if is_population(node):
                self.tracers[node.name] = self._zeros(node.name)
                own = node.op.levels if isinstance(node.op, (Input, *FIRING)) else None
                self.levels[node.name] = max(self.levels[s] for s in feeds) if own is None else own
        edges = [(s, node.name) for node in self.order for s in self.heard[node.name]]
        self.wait = {edge: int(self.rng.integers(0, self.delays.most + 1)) for edge in edges}
        self.start: dict[str, int] = {}
        for node in self.order:
            arrivals = (self.start[s] + 1 + self.wait[s, node.name] for s in self.heard[node.name])
            self.start[node.name] = max(arrivals, default=0)

    def _zeros(self, name: str) -> np.ndarray:
        return np.zeros((self.batch, *self.graph.shapes[name]), np.int64)

    def settle(self, frame: np.ndarray) -> Settled:
        events = {name: np.zeros(self.batch, np.int64) for name in self.tracers}
        peak = dict.fromkeys((n.name for n in self.order[1:] if not isinstance(n.op, MaxPool)), 0)
        extremes = {name: (int(s.min()), int(s.max())) for name, s in self.tracers.items()}
        synops = np.zeros(self.batch)
        for steps in range(self._longest()):
            for source, target, d in self.flight.pop(0):
                self.heard[target][source] = self.heard[target][source] + d
            self.flight.append([])
            awake = [n for n in self.order if is_population(n) and self.start[n.name] <= steps]
            sent = {n.name: change(self.code, self._error(n, frame, peak)) for n in awake}
            if len(awake) == len(self.tracers) and not any(d.any() for d in sent.values()) and not any(self.flight):
                self.start = dict.fromkeys(self.start, 0)
                return Settled(dict(self.tracers), self._output(), events, steps, peak, extremes, synops)
            for name, d in sent.items():
                self.tracers[name] = self.tracers[name] + d
                fires = (d != 0).reshape(self.batch, -1)
                events[name] += fires.sum(axis=1)
                if name in self.fans:
                    synops += fires @ self.fans[name].astype(np.float64)
                low, high = extremes[name]
                extremes[name] = min(low, int(self.tracers[name].min())), max(high, int(self.tracers[name].max()))
                if d.any():
                    self._send(name, d)
        raise RuntimeError(f"{self.graph.name} did not come to rest")  # it has been proved to

    def _output(self) -> np.ndarray:
        last = self.order[-1]
        return self.tracers[last.name] if is_population(last) else self._arrived(last)

    def _longest(self) -> int:
        """Steps after which all is at rest: layer after layer, each from the far end of its tracer's range."""
        each = sum(2 * (1 + levels) + self.delays.most + 2 for levels in self.levels.values())
        return max(self.start.values()) + each + self.delays.most + 2

    def _error(self, node: Node, frame: np.ndarray, peak: dict[str, int]) -> np.ndarray:
        if isinstance(node.op, Input):
            return frame - self.tracers[node.name]
        arrived = self._arrived(node)
        if isinstance(node.op, MaxPool):
            value = np.asarray(apply(node.op, jnp.asarray(arrived, jnp.float32))).astype(np.int64)
        elif not isinstance(node.op, Threshold):
            assert isinstance(node.op, FIRING)
            peak[node.name] = max(peak[node.name], int(np.abs(arrived + node.op.bias).max()))
            value = np.asarray(waited(node.op, jnp.asarray(arrived, jnp.int32))).astype(np.int64)
        else:
            membrane = arrived + node.op.bias + node.op.initial
            peak[node.name] = max(peak[node.name], int(np.abs(membrane).max()))
            value = membrane // node.op.threshold
        return np.clip(value, 0, self.levels[node.name]) - self.tracers[node.name]

    def _arrived(self, node: Node) -> np.ndarray:
        """The sum of W d over all that has arrived, in front of a pool the tracers heard of."""
        heard = {source: jnp.asarray(value, jnp.float32) for source, value in self.heard[node.name].items()}
        if not heard:
            return self.tracers[node.name]
        return np.asarray(propagate(self.graph, node.name, heard)).astype(np.int64)

    def _send(self, name: str, d: np.ndarray) -> None:
        for (source, target), wait in self.wait.items():
            if source != name:
                continue
            if not self.delays.each_event:
                self.flight[wait].append((source, target, d))
                continue
            waits = self.rng.integers(0, self.delays.most + 1, d.shape)
            for k in range(self.delays.most + 1):
                if (part := d * (waits == k)).any():
                    self.flight[k].append((source, target, part))
