"""What an arm is called in words."""

import pytest

from experiments.records.record_rows import ArmRow

ARM = ArmRow(
    name="loihi2/spiking/bits/single", machine="loihi2", kind="neuromorphic", process="Intel 4", deployment="edge",
    network="spiking", code="bits", regime="single", precision="spikes", batch=1, accuracy=None, fits=True, priced=True,
    reason=None, basis="modelled", units_used={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "form", "in_flight"),
    [
        ({}, "spiking, bits code", "one at a time"),
        ({"regime": "stream", "batch": 42}, "spiking, bits code", "stream of 42"),
        (
            {"network": "integer", "code": None, "precision": "int8", "regime": "batch1"},
            "integer, int8",
            "one at a time",
        ),
        (
            {"network": "float", "code": None, "precision": "fp16", "regime": "best_batch", "batch": 4096},
            "float, fp16",
            "best batch of 4,096",
        ),
    ],
)
def test_arms_in_words(changed, form, in_flight):
    arm = ArmRow(**{**vars(ARM), **changed})
    assert (arm.form, arm.in_flight) == (form, in_flight)
    assert arm.spiking == (arm.network == "spiking")
