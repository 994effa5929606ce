"""The stopwatch of the benchmark."""

from experiments.benchmarks.stages import Stopwatch


def test_stages_follow_each_other_and_the_last_one_ends(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 3.0, 7.0])
    monkeypatch.setattr("experiments.benchmarks.stages.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    watch("first", 2)(1)
    watch("second", 1)
    watch.end()
    assert watch.seconds == {"first": 2.0, "second": 4.0}
