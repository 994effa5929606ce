"""The simulator: networks, spikes, chips, placement, counts, cost."""
