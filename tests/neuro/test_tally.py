"""What the sums of a run come to, against what each neuron's spike causes."""

from itertools import pairwise

import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load
from neuro.effects import effects, load_events
from neuro.grouped import WORD, Grouped
from neuro.placement import Placement, place
from neuro.tally import Tables, tables
from neuro.taps import Layout, by_channel
from neuro.wiring import of_graph


@pytest.fixture(params=["loihi1", "loihi2", "spinnaker1"])
def placed(request, random_network) -> tuple[Placement, dict[str, Layout], Tables]:
    chip = load(request.param)
    graph = encode(random_network(3, np.random.default_rng(3), 1, 2), "rate", 6)
    way = realise(chip, "rate", graph)
    placement = place(of_graph(graph, chip, way), chip, way, allow=True)
    layouts = {name: by_channel(graph.shapes[name]) for name in placement.schedule.windows}
    return placement, layouts, tables(placement, layouts, dict.fromkeys(layouts, 6))


def dense(found: Tables) -> np.ndarray:
    """What one of each sum comes to in each column [column, sum], through the totals that it is in."""
    every = np.zeros((len(found.columns) - 1, len(found.causes)))
    number = len(found.causes) - (len(found.totals) - 1)
    entries, adds = (np.searchsorted(found.rows, begin) for begin in (found.entries, found.adds))
    for column in range(len(every)):
        for _, begin, end in found.segments[found.columns[column] : found.columns[column + 1]]:
            every[column, entries[begin:end]] += found.amounts[begin:end]
    for total, (begin, end) in enumerate(pairwise(found.totals)):
        every[:, adds[begin:end]] += every[:, number + total, None]
    return every[:, :number]


def by_neuron(parts: Grouped, layout: Layout) -> np.ndarray:
    """To which sums a spike of each neuron adds, and how much [neuron, sum]."""
    words = -(-layout.neurons.shape[1] // WORD)
    bits = np.unpackbits(parts.units[:, 1:].copy().view(np.uint8), axis=1, bitorder="little")
    found, begin = np.zeros((layout.neurons.size, parts.causes.shape[0])), 0
    for total, amount, end in parts.runs:
        for (word, _, _), on in zip(parts.units[begin:end], bits[begin:end], strict=True):
            of = layout.neurons[word // words, WORD * (word % words) :][:WORD]
            found[of, total] += amount * on[: len(of)]
        begin = end
    return found


def test_columns_hold_what_neurons_cause(placed):
    placement, layouts, found = placed
    every = dense(found)
    assert not every[0].any()
    for first, parts, name in zip(found.first, found.populations, layouts, strict=True):
        per_neuron = effects(placement, name)
        adds = by_neuron(parts, layouts[name])
        caused = adds @ every[:, first : first + adds.shape[1]].T  # [neuron, column]
        want = np.zeros((len(per_neuron.matrix), len(load_events(placement)), placement.number))
        for cores, load_, begin, end in per_neuron.core_columns:
            want[:, load_, cores] += per_neuron.matrix[:, begin:end]
        np.testing.assert_array_equal(caused[:, found.of_core], want)


def test_a_link_carries_no_more_than_its_bound(placed):
    placement, _, found = placed
    every = dense(found)
    links = every[len(every) - found.links :]
    if not placement.chip.time.link:
        assert found.links == 0
    for k, link in enumerate(links):
        bounding = slice(found.bounds[k], found.bounds[k + 1])
        bound = found.times[bounding] @ every[found.bounding[bounding]]
        assert link.any()
        assert (bound >= link).all()
    assert len(np.unique(links, axis=0)) == len(links)
