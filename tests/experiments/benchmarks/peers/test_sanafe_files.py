"""SANA-FE's YAML, in a network small enough to write out."""

import numpy as np

from experiments.benchmarks.peers.sanafe_files import position, read_architecture, read_network

NETWORK = """network:
  name: two
  groups:
  - name: 0
    attributes: {soma_hw_name: loihi_lif, synapse_hw_name: loihi_conv_synapse, threshold: 20, leak_decay: 0.5}
    neurons:
    - {0: {bias: 3}}
    - {1: {bias: 0}}
  - name: 1
    attributes: {soma_hw_name: loihi_lif, synapse_hw_name: loihi_dense_synapse, threshold: 7, leak_decay: 1}
    neurons:
    - {0: {bias: 0}}
  edges:
  - 0 -> 1:
      type: dense
      weight: [5, 0]
mappings:
- {'0.0': {core: '0.1'}}
- {'0.1': {core: '0.1'}}
- {'1.0': {core: '2.3'}}
"""


def test_a_network_of_three_neurons(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(NETWORK, encoding="utf-8")
    found = read_network(path)
    assert found.core.tolist() == [1, 1, 11]
    assert found.bias.tolist() == [3, 0, 0]
    assert found.threshold.tolist() == [20, 20, 7]
    assert found.leak.tolist() == [0.5, 0.5, 1]
    assert found.weights.toarray()[2].tolist() == [5, 0, 0]
    assert found.synapses.toarray()[2].tolist() == [1, 1, 0]  # a synapse of weight zero is one
    assert found.sends.toarray()[:, 11].tolist() == [1, 1, 0]


def test_cores_stand_on_tiles_of_four():
    column, row = position(np.array([0, 3, 4, 17]))
    assert column.tolist() == [0, 0, 0, 1]
    assert row.tolist() == [0, 0, 1, 0]


def test_units_and_barrier(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text(
        "chip:\n  attributes:\n    latency_sync: {1: 1.0e-6, 4: 2.0e-6}\n"
        "  - name: soma[0..3]\n    energy: 2.5e-12  # J\n    latency: 1.0e-9\n",
        encoding="utf-8",
    )
    units = read_architecture(path)
    assert units["soma"] == {"energy": 2.5e-12, "latency": 1.0e-9}
    assert units["barrier"] == {"1": 1.0e-6, "4": 2.0e-6}
