"""The page drawn from a record: complete without anything else, readable, the same every time."""

import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from baselines import device
from experiments import figures
from experiments.records import record
from experiments.report import page, report, sentence
from neuro import chip, constants
from neuro.errors import BadInput
from neuro.units import show


@pytest.fixture(scope="module")
def path(comparison, tmp_path_factory):
    return record.write(comparison, tmp_path_factory.mktemp("runs") / "tiny.h5", "neuro compare tiny", "2026-01-01")


@pytest.fixture(scope="module")
def found(path):
    return record.read(path)


@pytest.fixture(scope="module")
def text(found):
    return page(found)


class Page(HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href", "data", "action"):
                self.links.append(value)
            if key == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_says_what_spiking_arms_wait_for(found, text):
    bound = {arm.name: arm.bound for arm in found.arms}
    assert {bool(bound[a.name]) for a in found.arms if a.priced and a.spiking} == {True}
    assert {bound[a.name] for a in found.arms if a.kind != "neuromorphic"} == {None}
    shown = {bound[a.name] for a in figures.distinct(found) if a.spiking}
    assert all(what in text for what in shown)


def test_the_page_needs_nothing_else(text):
    read = Page(text)
    assert {"script", "link", "iframe", "object", "img"} & set(read.tags) == set()
    assert [link for link in read.links if not link.startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import|@font-face", text) == []


def test_references_inside_the_figures_hold(text):
    read = Page(text)
    assert [name for name, n in Counter(read.ids).items() if n > 1] == []
    wanted = {link[1:] for link in read.links} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted
    assert wanted <= set(read.ids)


def test_the_same_record_gives_the_same_page(text, path):
    assert page(record.read(path)) == text


def test_the_page_states_proof_figures_and_contract(text, found):
    words = " ".join(" ".join(Page(text).words).split())
    for code in found.codes:
        if code.exact:
            assert f"0 mismatches in {code.checked:,} values checked" in words
    for arm in found.arms:
        if arm.priced:
            assert show(found.chosen.energy[arm.name].p50, "J") in words, arm.name
        else:
            assert arm.reason in words
    for verdict in found.chosen.verdicts:
        assert figures.chance(verdict.p) in words
    for number in ("Fairness contract", "broken", "energy at 10 Hz", found.provenance["network_sha256"]):
        assert number in words
    assert all(c.path in words for c in found.constants)


def test_one_figure_of_each_kind(text):
    assert Page(text).tags.count("svg") == 4


def test_colours_follow_the_style_sheet(text):
    assert not any(colour in text for colour in figures.VARIABLES)
    used = set(re.findall(r"var\(--(\w+)\)", text))
    assert set(figures.VARIABLES.values()) <= used
    assert all(f"--{name}:" in text for name in used)


def test_a_record_is_enough(path, tmp_path, monkeypatch, text):
    """Neither the network nor the machines' files are there any more."""

    def gone(*arguments):
        raise AssertionError("the report reads nothing but the record")

    shutil.copy(path, tmp_path / "moved.h5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "read", gone)
    monkeypatch.setattr(chip, "load", gone)
    written = report(tmp_path / "moved.h5", tmp_path / "pages" / "tiny.html")
    assert written.read_text(encoding="utf-8") == text


def test_text_from_outside_cannot_become_markup(found):
    hostile = page(replace(found, title="<script>alert(1)</script>", config=found.config | {"network": "<img src=x>"}))
    assert {"script", "img"} & set(Page(hostile).tags) == set()
    assert "&lt;script&gt;" in hostile


def test_garbage_and_foreign_files_give_no_page(tmp_path, path):
    garbage, cut, out = tmp_path / "garbage.h5", tmp_path / "cut.h5", tmp_path / "page.html"
    garbage.write_bytes(os.urandom(4096))
    cut.write_bytes(path.read_bytes()[:50_000])
    for place in (garbage, cut, tmp_path / "absent.h5"):
        with pytest.raises(BadInput, match=re.escape(str(place))):
            report(place, out)
    assert not out.exists()


def test_a_failed_page_leaves_the_old_one(path, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("old page")

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BadInput, match="No space left"):
        report(path, out)
    assert os.listdir(tmp_path) == ["page.html"]
    assert out.read_text() == "old page"


def test_a_page_can_be_drawn_without_rivals(found):
    alone = tuple(replace(v, ratio=None, best_rival=None, classes={}, drivers=(), p=1.0) for v in found.chosen.verdicts)
    arms = tuple(a for a in found.arms if a.spiking)
    lonely = page(replace(found, arms=arms, duty=None, chosen=replace(found.chosen, verdicts=alone)))
    assert "Not comparable" in lonely
    assert "No conventional arm can be ranked here" in lonely
    assert Page(lonely).tags.count("svg") == 2


def test_a_page_can_be_drawn_without_any_price(found):
    pairless = {"ratio": None, "best_snn": None, "best_rival": None, "classes": {}, "drivers": ()}
    verdicts = tuple(replace(v, **pairless) for v in found.chosen.verdicts)
    bare = replace(found.chosen, energy={}, latency={}, components={}, nominal_energy={}, verdicts=verdicts)
    arms = tuple(replace(a, priced=False, reason="no price here") for a in found.arms)
    drawn = page(replace(found, arms=arms, duty=None, chosen=bare))
    assert "No spiking arm can be ranked here" in drawn
    assert drawn.count("no price here") >= len(arms)
    assert "svg" not in Page(drawn).tags


def test_a_chosen_rate_is_told(found):
    slow = replace(found.duty, late=("loihi1/spiking/rate/single",))
    drawn = page(replace(found, chosen=slow, duty=None))
    assert "10 inferences a second" in drawn
    assert "Too slow for this rate, hence not ranked: loihi1/spiking/rate/single." in " ".join(drawn.split())


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.0, "P < 0.01"), (0.0099, "P < 0.01"), (0.01, "P = 0.01"), (0.5, "P = 0.50"), (0.9999, "P > 0.99")],
)
def test_a_probability_is_never_shown_as_certain(p, said):
    assert figures.chance(p) == said


def test_a_sentence_names_both_arms_and_the_ratio(found):
    verdict = replace(
        found.chosen.verdicts[0], ratio=(0.1, 0.25, 1234.5), p=0.91, p_twice=0.002,
        best_snn="loihi2/spiking/bits/single", best_rival="eyeriss_v1/integer/int16/batch1",
    )  # fmt: skip
    assert sentence(found, verdict) == (
        "loihi2 (spiking, bits code, one at a time) needs 0.25 times the energy of eyeriss_v1 (integer, int16, one at "
        "a time) (5–95 %: 0.1 to 1,234 times). It needs less in 91% of the draws, and at most half in almost no draw."
    )


def test_what_runs_in_theory_only_is_marked(found, text):
    """In the headline, in the sentence and in the row of the arm."""
    best = found.chosen.verdicts[0].best_snn
    why = "runs only in theory: a core holds half as much"
    arms = tuple(replace(arm, fits=False, reason=why) if arm.name == best else arm for arm in found.arms)
    marked = page(replace(found, arms=arms))
    assert "in theory" not in text
    assert "(in theory only)" in marked
    assert f"It {why}." in sentence(replace(found, arms=arms), found.chosen.verdicts[0])
    assert f'<div class="muted">{why}</div>' in marked


def test_every_component_has_a_family(found):
    parts = {name for split in found.chosen.components.values() for name in split} | {"idle"}
    families = {name: figures.family_of(name) for name in parts}
    assert "other" not in families.values()
    assert families["static"] == "power while working"
    assert families["idle"] == "power while waiting"
    assert families["neuron_program"] == "neuron updates"
    assert families["network_word"] == "spikes and their routes"


@pytest.mark.parametrize("name", device.known())
def test_components_of_every_machine_have_a_family(name):
    described = device.load(name)
    charged = device.prices(described, device.nominal(described), next(iter(described.power))).energy
    assert [part for part in charged if figures.family_of(part) == "other"] == []


def test_the_leading_arms_are_the_best_of_their_machine(found):
    best, batched = figures.leading(found)
    assert set(best) == {a.machine for a in found.arms if a.priced}
    for machine, arm in best.items():
        product = found.chosen.energy[arm.name].p50 * found.chosen.latency[arm.name].p50
        rivals = [a.name for a in found.arms if a.machine == machine and a.priced and a.batch == 1]
        assert product == min(found.chosen.energy[n].p50 * found.chosen.latency[n].p50 for n in rivals)
    assert all(arm.batch > 1 for arm in batched.values())


def test_a_best_batch_of_one_is_not_shown_twice(found):
    doubled = tuple(replace(a, regime="best_batch", batch=1) if a.regime == "stream" else a for a in found.arms)
    assert {a.regime for a in figures.distinct(replace(found, arms=doubled))} <= {"single", "batch1", "best_batch"}
    assert not any(a.spiking and a.regime == "best_batch" for a in figures.distinct(replace(found, arms=doubled)))
