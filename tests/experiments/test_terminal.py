"""What a person reads."""

from experiments.summary import summary
from experiments.terminal import description, descriptions, progress_bars, sentence, table
from neuro import chip

RATIO = {"p5": 0.5, "p50": 2.0, "p95": 4000.0}


def verdict(**changed):
    row = {"p_snn_wins": 0.25, "word": "undecided", "best_snn": "a", "best_rival": "b", "ratio": RATIO}
    return row | changed


def test_one_sentence_says_who_by_how_much_and_how_sure():
    text = sentence("edp", verdict())
    assert text == (
        "Undecided: on energy x delay either may win (P = 0.25): a takes 2x [0.5x .. 4,000x] of what b takes."
    )
    assert sentence("energy", verdict(word="no")).startswith("No: on energy the spiking network loses")


def test_without_a_pair_the_missing_side_is_named():
    assert "No spiking arm is eligible" in sentence("energy", verdict(best_snn=None, ratio=None))
    assert "No rival is eligible" in sentence("energy", verdict(best_rival=None, ratio=None))


def test_the_table_shows_every_arm_and_why_others_are_missing(comparison, capsys):
    found = summary(comparison, "r.h5")
    table(comparison, found)
    printed = capsys.readouterr().out
    for arm in found["arms"]:
        repeated = arm["regime"] == "best_batch" and arm["batch"] == 1
        assert (arm["name"] in printed) != (repeated and arm["energy_j"] is not None)
        if arm["reason"]:
            assert arm["reason"] in printed
    assert f"The fastest spiking arm, {found['verdict']['latency']['best_snn']}, is " in printed
    assert "\x1b" not in printed  # no colours where there is no terminal


def test_an_answer_that_rests_on_what_no_chip_runs_says_so(comparison, capsys):
    found = summary(comparison, "r.h5")
    best, why = found["verdict"]["energy"]["best_snn"], "runs only in theory: a core holds half as much"
    table(comparison, found)
    assert "theory" not in capsys.readouterr().out
    found["arms"] = [a | {"fits": False, "reason": why} if a["name"] == best else a for a in found["arms"]]
    table(comparison, found)
    lines = capsys.readouterr().out.splitlines()
    answers = [line for line in lines if line.startswith("Does the spiking network win?")]
    assert len(answers) == 2
    assert all(line.endswith(" In theory only.") for line in answers)
    assert f"{best} {why}" in lines
    assert any(line.startswith(f"{best} (in theory) ") for line in lines)


def test_every_constant_of_a_chip_is_shown(capsys):
    loihi = chip.load("loihi1")
    description(loihi)
    printed = capsys.readouterr().out
    assert "23.6 pJ" in printed
    assert "10.1109/MM.2018.112130359" in printed
    descriptions([loihi])
    assert capsys.readouterr().out.startswith("loihi1")


def test_a_chip_says_what_it_is_and_is_not(capsys):
    odin = chip.load("odin")
    description(odin)
    printed = capsys.readouterr().out
    assert "priced: totals are held against its limits" in printed
    assert all(f"not modelled: {what}" in printed for what in odin.cannot)
    assert f"included: energy.spike: {odin.included.energy['spike']}" in printed
    chips = [chip.load(name) for name in chip.known()]
    descriptions(chips)
    lines = capsys.readouterr().out.splitlines()
    for line, one in zip(lines, chips, strict=True):
        grades = one.evidence
        assert f"{one.scope}; held against: energy {grades.energy}, latency {grades.latency};" in line


def test_progress_is_silent_where_there_is_no_terminal(capsys):
    with progress_bars() as begin:
        begin("work", 2)(1)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_brackets_of_a_users_text_are_printed_and_never_obeyed(capsys):
    """A title, a note and a source's title in brackets, as a file of one's own may have them."""
    generic = chip.load("generic")
    text = "[bold] sizes [m, k] of [/b] it"
    sources = {key: source.model_copy(update={"title": text}) for key, source in generic.sources.items()}
    description(generic.model_copy(update={"title": text, "notes": [text], "sources": sources}))
    printed = capsys.readouterr().out
    assert f"generic: {text} (" in printed
    assert f"note: {text}" in printed
    assert all(f"[{key}] {text}" in printed for key in sources)


def test_brackets_in_the_name_of_a_network_or_record_are_printed(comparison, capsys):
    found = summary(comparison, "a [red] folder/r[/].h5") | {"network": "[link=x]net"}
    table(comparison, found)
    printed = capsys.readouterr().out
    assert printed.startswith("[link=x]net on ")
    assert "record: a [red] folder/r[/].h5" in printed
