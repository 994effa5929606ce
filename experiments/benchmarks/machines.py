"""How long it takes to price ResNet-50 on every device at two batches and three precisions, after start-up."""

from time import perf_counter

import jax

from baselines import device as conventional
from baselines import from_shapes
from experiments.replays.replay import nominal_prices, quantity
from experiments.replays.target import Conventional
from experiments.terminal import screen
from neuro.errors import DoesNotFit

NETWORK = "resnet50"
BATCHES = (1, 64)
PRECISIONS = ("int8", "fp16", "fp32")
REPETITIONS = 5


def once(devices: list[conventional.Device], prices: dict, work: from_shapes.Workload) -> dict[str, float]:
    """Seconds by device for all batches and precisions that it can run, tiling search included."""
    spent = {}
    for device in devices:
        start = perf_counter()
        for batch in BATCHES:
            for precision in PRECISIONS:
                try:
                    counts = conventional.counts(device, work, precision, batch)
                except DoesNotFit:
                    continue
                for name in ("latency", "energy"):
                    quantity(name, counts, prices[device.name])
        spent[device.name] = perf_counter() - start
    return spent


def main() -> None:
    """Prints the median of several runs, in all and for the slowest machines."""
    devices = [conventional.load(name) for name in conventional.known()]
    work = from_shapes.load(NETWORK)
    prices = {d.name: nominal_prices(Conventional(d), next(iter(d.power))) for d in devices}
    jax.block_until_ready(prices)
    runs = sorted((once(devices, prices, work) for _ in range(REPETITIONS)), key=lambda spent: sum(spent.values()))
    median = runs[REPETITIONS // 2]
    out = screen()
    out.print(
        f"{NETWORK} on {len(devices)} devices at batches {BATCHES} and precisions {PRECISIONS}: "
        f"{sum(median.values()):.3f} s (median of {REPETITIONS}; {sum(runs[0].values()):.3f} to "
        f"{sum(runs[-1].values()):.3f} s)"
    )
    for name in sorted(median, key=lambda n: -median[n])[:8]:
        out.print(f"  {name:<20} {1e3 * median[name]:.1f} ms")


if __name__ == "__main__":
    main()
