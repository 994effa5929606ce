"""Runs SANA-FE in a Python that has it and prints one JSON object; the tests call it as a separate process.

usage: sanafe_process.py ARCHITECTURE.yaml NETWORK.yaml STEPS
"""

import json
import sys

import sanafe

COUNTS = ("fired", "spikes", "updated", "hops")
ENERGIES = ("synapse_energy", "soma_energy", "network_energy", "total_energy")


def main(architecture: str, network: str, steps: str) -> None:
    """By timing model, simple and detailed: its figures of every step; packets and the counts are those of the run."""
    chip = sanafe.SpikingChip(hardware := sanafe.load_arch(architecture))
    chip.load(sanafe.load_net(network, hardware))
    result = {}
    for model in ("simple", "detailed"):
        chip.reset()
        run = chip.sim(int(steps), timing_model=model, processing_threads=1, perf_trace=True)
        trace = run["perf_trace"]
        result[model] = {name: list(trace[name]) for name in (*COUNTS, *ENERGIES, "sim_time")}
        result[model]["packets"] = run["packets_sent"]
    print()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
