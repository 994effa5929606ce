"""Networks synapse by synapse: what they say of themselves, and what they refuse."""

import numpy as np
import pytest

from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection

INPUT, CELLS = Neurons("in", (3,)), Neurons("cells", (2, 2), Dynamics(np.arange(1.0, 5)))


def projection(
    pre=(0, 1, 1), post=(3, 3, 3), weight=(1, 2, 2), source="in", target="cells", delay=0, receptor=0
) -> Projection:
    return Projection(source, target, np.array(pre), np.array(post), np.array(weight), delay, receptor)


def test_matrix_and_fan_out():
    """Two synapses of one pair weigh together and count apart."""
    p = projection()
    network = Network("net", (INPUT, CELLS), (p,))
    np.testing.assert_array_equal(network.matrix(p).toarray(), [[0, 0, 0, 1], [0, 0, 0, 4], [0, 0, 0, 0]])
    assert network.fan_out(p).tolist() == [1, 2, 0]
    assert network.synapses == 3
    assert network.size("cells") == 4
    assert network.inputs == (INPUT,)
    assert repr(network).splitlines() == [
        "network 'net': 7 neurons, 3 synapses",
        "  in                       input      (3,)",
        "  cells                    neurons    (2, 2)",
        "  in -> cells: 3 synapses",
    ]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"source": "it"}, "'it' -> 'cells': no population 'it'. Known: in, cells"),
        ({"target": "in", "post": (0, 1, 2)}, "ends in input neurons"),
        ({"pre": (0, 1, 3)}, r"pre\[2\] is 3; 'in' has neurons 0..2"),
        ({"post": (0, -1, 3)}, r"post\[1\] is -1; 'cells' has neurons 0..3"),
        ({"weight": (1.0, np.nan, 2.0)}, r"weight\[1\] is nan"),
        ({"delay": -1}, "a delay of -1"),
        ({"receptor": 1}, r"ends in receptor 1; 'cells' has 0\.\.0"),
    ],
)
def test_a_broken_projection_is_refused(fault, message):
    with pytest.raises(BadInput, match=message):
        Network("net", (INPUT, CELLS), (projection(**fault),))


@pytest.mark.parametrize(
    ("populations", "message"),
    [
        ((INPUT, INPUT), "'in' appears twice"),
        ((Neurons("none", (0,)),), r"'none' has shape \(0,\)"),
        (
            (Neurons("odd", (3,), Dynamics(1.0, bias=np.ones(2))),),
            r"bias has shape \(2,\); give one number or 3",
        ),
    ],
)
def test_a_broken_population_is_refused(populations, message):
    with pytest.raises(BadInput, match=message):
        Network("net", populations, ())
