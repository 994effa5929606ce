"""Installing: one failure does not stop the others, and what is there is left alone."""

from experiments.benchmarks.peers import environments
from experiments.benchmarks.peers.environments import GROUPS, Group, create, failures, python
from experiments.benchmarks.peers.roster import ROSTER


def fake(monkeypatch, failing: set[str]) -> list[tuple[str, ...]]:
    asked = []

    def install(interpreter, requirements: tuple[str, ...]) -> str | None:
        asked.append(tuple(sorted(requirements)))
        return "no such version" if failing & set(requirements) else None

    def run(command: list[str]) -> None:
        assert command[1:3] == ["-m", "venv"]

    monkeypatch.setattr(environments, "install", install)
    monkeypatch.setattr(environments, "_run", run)
    return asked


def test_one_failure_is_told_and_the_rest_installed(monkeypatch, tmp_path):
    group = Group("toy", ("base==1",), ("good==1", "bad==2"))
    python(tmp_path, "toy").parent.mkdir(parents=True)
    asked = fake(monkeypatch, {"bad==2"})
    told = dict(create(group, tmp_path))
    assert told == {"base==1": None, "good==1": None, "bad==2": "no such version"} == failures(tmp_path, "toy")
    assert asked == [("base==1",), ("base==1", "good==1"), ("bad==2", "base==1")]
    python(tmp_path, "toy").touch()
    asked = fake(monkeypatch, set())
    assert dict(create(group, tmp_path)) == {"base==1": None, "good==1": None, "bad==2": None}
    assert asked == [("bad==2", "base==1")]
    assert fake(monkeypatch, set()) == list(create(group, tmp_path))[:0]


def test_nothing_stands_on_a_broken_base(monkeypatch, tmp_path):
    (tmp_path / "toy").mkdir()
    fake(monkeypatch, {"base==1"})
    told = dict(create(Group("toy", ("base==1",), ("good==1",)), tmp_path))
    assert told == {"base==1": "no such version", "good==1": "not tried: base==1 failed"}
    assert failures(tmp_path, "absent") == {}


def test_everyone_in_the_roster_is_installed_somewhere():
    offered = {g.name: {r.split("==")[0] for r in (*g.base, *g.peers)} for g in GROUPS}
    for entry in ROSTER:
        assert entry.group is None or entry.distribution in offered[entry.group]
