"""The fairness contract, clause by clause, on a real comparison changed in the one thing a clause looks at."""

from dataclasses import replace

import pytest

from experiments.contract import clauses
from experiments.records import record


@pytest.fixture(scope="module")
def found(comparison, tmp_path_factory):
    return record.read(record.write(comparison, tmp_path_factory.mktemp("runs") / "tiny.h5", "neuro", "2026-01-01"))


def clause(found, number):
    return clauses(found)[number - 1]


def with_arms(found, change):
    return replace(found, arms=tuple(change(a) for a in found.arms))


def pair(found, snn="loihi2/spiking/bits/single", rival="eyeriss_v1/integer/int16/batch1"):
    """`found` with one pair of best arms for all quantities."""
    verdicts = tuple(replace(v, best_snn=snn, best_rival=rival) for v in found.chosen.verdicts)
    return replace(found, chosen=replace(found.chosen, verdicts=verdicts))


def without(found, *machines):
    """`found` without the arms of some machines, the best pair being none of theirs."""
    arms = tuple(a for a in found.arms if a.machine not in machines)
    rival = next((a.name for a in arms if a.priced and not a.spiking), None)
    return pair(replace(found, arms=arms), rival=rival)


def accuracy(found, name, value):
    return with_arms(found, lambda a: replace(a, accuracy=value) if a.name == name else a)


def test_there_are_fourteen_each_with_a_reason(found):
    known = clauses(found)
    assert [c.number for c in known] == list(range(1, 15))
    for c in known:
        assert c.status in ("held", "broken", "not applicable")
        assert c.why.endswith(".")
    assert len({c.text for c in known}) == 14


def test_an_honest_run_breaks_what_it_does_not_do(found):
    assert {c.number for c in clauses(found) if c.status != "held"} == {2, 6, 7}


def test_1_equal_outputs_or_equal_accuracy(found):
    equal = pair(found)
    assert clause(accuracy(equal, "eyeriss_v1/integer/int16/batch1", None), 1).status == "held"
    float_rival = pair(found, rival="eyeriss_v1/float/int16/batch1")
    snn = next(a for a in found.arms if a.name == "loihi2/spiking/bits/single").accuracy
    near, far = snn - 0.009, snn - 0.011
    assert clause(accuracy(float_rival, "eyeriss_v1/float/int16/batch1", near), 1).status == "held"
    broken = clause(accuracy(float_rival, "eyeriss_v1/float/int16/batch1", far), 1)
    assert broken.status == "broken"
    assert f"{far:.1%}" in broken.why
    assert clause(accuracy(float_rival, "eyeriss_v1/float/int16/batch1", None), 1).status == "broken"


def test_1_a_mismatch_makes_an_exact_code_an_ordinary_one(found):
    unequal = replace(found, codes=tuple(replace(c, mismatches=1) for c in found.codes))
    assert clause(accuracy(pair(unequal), "eyeriss_v1/integer/int16/batch1", None), 1).status == "broken"


def test_2_names_the_widths(found):
    why = clause(found, 2).why
    assert "8-bit weights" in why
    assert "int16, int8" in why


def test_4_says_who_skips_zeros(found):
    assert "skipped on eyeriss_v1;" in clause(found, 4).why
    dense = clause(without(found, "eyeriss_v1"), 4)
    assert dense.status == "held"
    assert "skipped" not in dense.why
    alone = without(found, *(a.machine for a in found.arms if not a.spiking))
    assert clause(alone, 4).status == "not applicable"


def test_5_names_memory_outside_the_chip(found):
    assert "eyeriss_v1, jetson_orin_agx pay for memory" in clause(found, 5).why
    inside = without(found, "eyeriss_v1", "jetson_orin_agx")
    assert clause(inside, 5).why == "every machine keeps weights and activations on its own chip."


def test_6_holds_on_one_node_only(found):
    assert clause(found, 6).status == "broken"
    assert "eyeriss_v1 (65 nm)" in clause(found, 6).why
    one = with_arms(found, lambda a: replace(a, process="22 nm"))
    assert (clause(one, 6).status, "22 nm" in clause(one, 6).why) == ("held", True)


def test_7_wants_both_regimes_of_every_machine(found):
    broken = clause(found, 7)
    assert broken.status == "broken"
    assert "loihi1 has no stream arm" in broken.why
    assert "clear a neuron's state" in broken.why  # not the reason of a code that it cannot run at all
    assert clause(without(found, "loihi1"), 7).status == "held"


def test_8_and_10_want_both_scenarios(found):
    assert (clause(found, 8).status, clause(found, 10).status) == ("held", "held")
    one = replace(found, duty=None)
    assert (clause(one, 8).status, clause(one, 10).status) == ("broken", "broken")
    at_rate = replace(found, duty=None, chosen=found.duty)
    assert (clause(at_rate, 8).status, clause(at_rate, 10).status) == ("broken", "held")
    assert "10 inferences a second" in clause(at_rate, 8).why


def test_9_says_what_is_inside(found):
    why = clause(found, 9).why
    assert "sensor" in why
    assert "writing inputs and reading results on loihi1, loihi2" in why


def test_10_names_arms_that_work_for_free(found):
    parts = found.chosen.components | {"loihi2/spiking/bits/single": {"spike": 1e-9}}
    free = clause(replace(found, chosen=replace(found.chosen, components=parts)), 10)
    assert free.status == "broken"
    assert "loihi2/spiking/bits/single" in free.why


def test_12_breaks_for_a_chip_that_holds_no_form_of_the_network(found):
    assert clause(found, 12).status == "held"
    crowded = with_arms(found, lambda a: replace(a, fits=False, priced=False) if a.machine == "loihi1" else a)
    broken = clause(crowded, 12)
    assert broken.status == "broken"
    assert broken.why.startswith("loihi1 cannot")


def test_13_counts_constants_and_finds_uncited_ones(found):
    assert clause(found, 13).why.startswith(f"{len(found.constants)} constants")
    first = found.constants[0]
    bare = replace(found, constants=(replace(first, source="hearsay"), *found.constants[1:]))
    assert clause(bare, 13).status == "broken"
    assert f"{first.machine}:{first.path}" in clause(bare, 13).why


def test_1_and_14_do_not_apply_without_a_pair(found):
    alone = tuple(replace(v, ratio=None, best_rival=None) for v in found.chosen.verdicts)
    one_sided = replace(found, chosen=replace(found.chosen, verdicts=alone))
    assert {clause(one_sided, n).status for n in (1, 14)} == {"not applicable"}


def test_nothing_is_held_by_arms_without_a_price(found):
    bare = with_arms(found, lambda a: replace(a, priced=False))
    assert {c.number for c in clauses(bare) if c.status == "not applicable"} == {2, 4, 5, 6, 7, 8, 9, 10}
