"""Shapes at a stated rate: counts by hand, cores by the limits of the chip."""

import pytest

from baselines import from_shapes
from baselines.workload import Workload as Shapes
from baselines.workload import convolution, dense
from experiments.replays.layered import workload
from neuro import chip
from neuro.errors import BadInput, DoesNotFit

LOIHI = chip.load("loihi1")


def test_a_convolution_and_a_dense_layer_by_hand():
    """8 x 8 inputs, 4 channels of 3 x 3 on 6 x 6 positions, then 10 outputs; every value fires 0.1 a step, 20 steps."""
    first = convolution("c", (1, 4), (3, 3), (1, 1), (8, 8), (6, 6), inputs=64)
    work = workload(Shapes("n", (first, dense("d", 144, 10))), LOIHI, 0.1, 20.0)
    assert (work.neurons, work.cores, work.inputs, work.outputs) == (154, 2, 64, 10)
    assert work.synops == pytest.approx((144 * 9 + 1440) * 2)
    assert work.spikes == pytest.approx((144 + 10) * 2)
    assert work.packets == pytest.approx((64 + 144) * 2)
    assert [core.synops for core in work.busiest] == pytest.approx([129.6, 144.0])
    assert work.format == "dense"  # 1,440 of 2,736 are


def test_weights_ask_for_cores():
    """1,000 x 1,000 weights of 9 bits and biases on memories of 2^20 bits: nine cores, to which every spike goes."""
    work = workload(Shapes("n", (dense("d", 1000, 1000),)), LOIHI, 0.1, 1.0)
    assert work.cores == 9
    assert work.packets == pytest.approx(900)


def test_what_does_not_fit_and_what_has_no_weights():
    with pytest.raises(DoesNotFit, match="speck has"):
        workload(from_shapes.load("resnet50"), chip.load("speck"), 0.1, 1.0)
    with pytest.raises(BadInput, match="no layer with weights"):
        workload(Shapes("n", ()), LOIHI, 0.1, 1.0)
