"""What ``neuro map`` prints, from a summary made by hand."""

import re

import pytest

from experiments.maps.chip_table import MOST, print_map


def row(core: int, full: float) -> dict:
    return {
        "core": core, "site": 100 + core, "layers": [f"layer[{core}]"], "used": {"axons_in": 4096 * full},
        "allowed": {"axons_in": 4096.0}, "full": full, "busy_s": 1e-6 * core, "packets_out": 5.0, "packets_in": 7.0,
    }  # fmt: skip


@pytest.fixture
def summary():
    return {
        "network": "net", "chip": "loihi2", "scope": "mapped", "code": "bits", "realisation": "native", "cores": 30,
        "cores_per_chip": 128, "chips": 1, "violations": [],
        "evidence": {"energy": "undisclosed", "latency": "same chip"},
        "regime": "single", "objective": None, "rows": [row(i, i / 30) for i in range(30)],
        "limits": [
            {"limit": "axons_in", "used_most": 3960.0, "allowed": 4096.0},
            {"limit": "fan_in", "used_most": 9.0, "allowed": None},
        ],
        "multicast": False, "packets": 1234.0, "mean_hops": 1.5, "busiest_link_packets": 99.0, "busiest_core_s": 29e-6,
        "latency_s": 2e-5,
        "interval_s": 2e-5, "energy_j": 3e-6, "waits_s": {"synapses": 1.5e-5, "host": 5e-6},
        "bound": "bound by the synapses (75% of the time)", "deadline": None, "detailed": None, "figure": "runs/a.png",
        "layers": {"layer[0]": {"events": {"spike": 10.0, "synop_conv": 20.0, "synop_dense": 3.0}, "energy_j": 1e-9}},
    }  # fmt: skip


def printed(summary, capsys, everything=False) -> str:
    print_map(summary, everything)
    return capsys.readouterr().out


def test_what_layers_were_cut_for_is_told(summary, capsys):
    text = printed(summary | {"objective": "traffic"}, capsys)
    assert text.startswith("net on loihi2, bits code (native): 30 of 128 cores, cut for the lowest traffic\n")


def test_limits_traffic_time_and_energy_are_told(summary, capsys):
    text = printed(summary, capsys)
    assert text.startswith("net on loihi2, bits code (native): 30 of 128 cores\n")
    assert "model held against silicon: energy undisclosed, latency same chip" in text
    assert re.search(r"axons in +3,960 +4,096 +97%", text)
    assert re.search(r"fan in +9 +no limit", text)
    assert "1,234 packets an inference over 1.50 hops each, 99 on the busiest link" in text
    assert "the busiest core works for 29 µs" in text
    assert "20 µs a sample (synapses 15 µs, host 5 µs)" in text
    assert "bound by the synapses" in text
    assert re.search(r"layer\[0\] +10 +23 +1 nJ", text)
    assert "figure: runs/a.png" in text
    assert "ticks" not in text
    assert "violated" not in text


def test_the_fullest_cores_come_first_and_all_on_request(summary, capsys):
    text = printed(summary, capsys)
    cores = [int(n) for n in re.findall(r"layer\[(\d+)\] +[\d,]+ +\d+%", text)]
    assert cores == list(range(29, 29 - MOST, -1))
    assert f"the {MOST} fullest of 30 cores; --all for all" in text
    assert len(re.findall(r"layer\[\d+\] +[\d,]+ +\d+%", printed(summary, capsys, everything=True))) == 30


def test_what_is_special_is_said(summary, capsys):
    summary |= {
        "scope": "priced", "chips": 2, "violations": ["layer 'a' needs [too] much."], "regime": "stream",
        "deadline": {"tick_s": 1e-3, "mean_step_s": 2e-3, "missed_steps": 3.0}, "figure": None,
        "detailed": None,
    }  # fmt: skip
    text = printed(summary, capsys)
    assert "30 of 256 cores on 2 chips" in text
    assert "only priced" in text
    assert "violated: layer 'a' needs [too] much." in text
    assert "ticks of 1 ms: 3.0 steps an inference overrun theirs; a step takes 2 ms on average" in text
    assert "the events of each layer when alone" in text
    assert "figure" not in text
