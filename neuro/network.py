"""A network synapse by synapse: populations of neurons and projections between them, recurrent or not.

What a `neuro.graph.Graph` says in operators is said here in single synapses; recurrent, imported and biological
networks have no other form. A spike of step t reaches the targets of a projection in step t + 1 + delay.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array

from neuro.dynamics import Dynamics
from neuro.errors import BadInput


@dataclass(frozen=True, eq=False)
class Neurons:
    """A population. shape: its neurons in row-major order. model: None for inputs driven by given spike trains."""

    name: str
    shape: tuple[int, ...]
    model: Dynamics | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from population `source` to population `target`; two of one pair of neurons are two synapses.

    delay: steps beyond the one that every spike takes. receptor: the current of the target that the weights add to.
    """

    source: str
    target: str
    pre: Int[np.ndarray, "synapse"]
    post: Int[np.ndarray, "synapse"]
    weight: Float[np.ndarray, "synapse"] | Int[np.ndarray, "synapse"]
    delay: int = 0
    receptor: int = 0

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and the projections between them, checked.

    Raises:
        BadInput: an unknown or repeated name, an empty population, an index outside its population, a weight that is
            not finite, a negative delay, a receptor that the target has not, parameters that do not fit a population;
            with the place.
    """

    name: str
    populations: tuple[Neurons, ...]
    projections: tuple[Projection, ...]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for p in self.populations:
            where = f"{self.name}: population {p.name!r}"
            if p.name in known:
                raise BadInput(f"{where} appears twice; names must be unique.")
            if not p.shape or min(p.shape) < 1:
                raise BadInput(f"{where} has shape {p.shape}; a population has at least one neuron.")
            for key, value in p.model.parameters().items() if p.model else ():
                if value.shape not in ((), (1,), (p.size,)):
                    raise BadInput(f"{where}: {key} has shape {value.shape}; give one number or {p.size:,}.")
            known.add(p.name)
        for projection in self.projections:
            self._check(projection)

    def _check(self, p: Projection) -> None:
        where = f"{self.name}: projection {p.source!r} -> {p.target!r}"
        sizes = {n.name: n.size for n in self.populations}
        if unknown := [name for name in (p.source, p.target) if name not in sizes]:
            raise BadInput(f"{where}: no population {unknown[0]!r}. Known: {', '.join(sizes)}.")
        model = self[p.target].model
        if model is None:
            raise BadInput(f"{where} ends in input neurons, which take no synapses; give them a model.")
        if p.delay < 0:
            raise BadInput(f"{where} has a delay of {p.delay}; 0 is the shortest, one step in all.")
        if not 0 <= p.receptor < model.receptors:
            raise BadInput(f"{where} ends in receptor {p.receptor}; {p.target!r} has 0..{model.receptors - 1}.")
        if not p.pre.shape == p.post.shape == p.weight.shape == (len(p),):
            raise BadInput(f"{where}: pre {p.pre.shape}, post {p.post.shape} and weight {p.weight.shape} disagree.")
        for side, index, name in (("pre", p.pre, p.source), ("post", p.post, p.target)):
            outside = np.flatnonzero((index < 0) | (index >= sizes[name]))
            if len(outside):
                at = outside[0]
                raise BadInput(f"{where}: {side}[{at}] is {index[at]}; {name!r} has neurons 0..{sizes[name] - 1}.")
        broken = np.flatnonzero(~np.isfinite(p.weight))
        if len(broken):
            raise BadInput(f"{where}: weight[{broken[0]}] is {p.weight[broken[0]]}; repair the network.")

    def __getitem__(self, name: str) -> Neurons:
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

    def size(self, name: str) -> int:
        """Number of neurons of population `name`."""
        return self[name].size

    @property
    def inputs(self) -> tuple[Neurons, ...]:
        """The populations that given spike trains drive."""
        return tuple(p for p in self.populations if p.model is None)

    @property
    def synapses(self) -> int:
        """Number of synapses, parallel ones counted separately."""
        return sum(len(p) for p in self.projections)

    def matrix(self, projection: Projection) -> csr_array:
        """Weights [pre, post] in float64; parallel synapses are added up, for products that is the same."""
        shape = (self.size(projection.source), self.size(projection.target))
        weights = projection.weight.astype(np.float64)
        return coo_array((weights, (projection.pre, projection.post)), shape=shape).tocsr()

    def fan_out(self, projection: Projection) -> Int[np.ndarray, "neuron"]:
        """Synapses of `projection` that each neuron of its source reaches."""
        return np.bincount(projection.pre, minlength=self.size(projection.source))

    def __repr__(self) -> str:
        neurons = sum(p.size for p in self.populations)
        lines = [f"network {self.name!r}: {neurons:,} neurons, {self.synapses:,} synapses"]
        for p in self.populations:
            kind = "input" if p.model is None else "neurons"
            lines.append(f"  {p.name:<24} {kind:<10} {p.shape}")
        for p in self.projections:
            delay = f", delay {p.delay}" if p.delay else ""
            receptor = f", receptor {p.receptor}" if p.receptor else ""
            lines.append(f"  {p.source} -> {p.target}: {len(p):,} synapses{delay}{receptor}")
        return "\n".join(lines)
