"""The benchmark of all machines: what it runs and how it adds up."""

from baselines import device, from_shapes
from experiments.benchmarks import machines
from experiments.replays.replay import nominal_prices
from experiments.replays.target import Conventional


def test_every_device_is_timed_and_what_it_cannot_run_is_left_out():
    chosen = [device.load(name) for name in ("l4", "edge_tpu", "stm32l4r5")]
    prices = {d.name: nominal_prices(Conventional(d), "chip") for d in chosen}
    spent = machines.once(chosen, prices, from_shapes.load("lenet5"))
    assert set(spent) == {"l4", "edge_tpu", "stm32l4r5"}
    assert all(seconds >= 0 for seconds in spent.values())
