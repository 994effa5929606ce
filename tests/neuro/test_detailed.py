"""The event-ordered step against figures worked out by hand, and the laws it keeps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.detailed import Mesh, Messages, Seconds, busiest, detailed
from neuro.errors import BadInput

CORES = 8
MESH = Mesh(np.array([0, 0, 1, 2, 0, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
"""Three columns by two rows; cores 0 and 1 share a router, and so do 6 and 7."""
SECONDS = Seconds(along_row=0.1, along_column=0.2, axon_in=0.5, synop=np.full(CORES, 0.1), slots=16.0)


def messages(*rows: tuple[int, int, int, float]) -> Messages:
    """Rows of (sender, receiver, synapses, delay)."""
    sender, receiver, synapses, delay = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Messages(np.array(sender, int), np.array(receiver, int), np.array(synapses, int), np.array(delay, float))


def rest(**seconds: float) -> np.ndarray:
    """What remains of the sweep of a core, cores by name: core0=..."""
    left = np.zeros(CORES)
    for name, value in seconds.items():
        left[int(name.removeprefix("core"))] = value
    return left


def test_one_message():
    # 1 until it leaves; two hops along the row and one along the column, 0.4; taken in during 0.5 + 3 * 0.1.
    step = detailed(messages((0, 6, 3, 1.0)), rest(core0=0.3), MESH, SECONDS, barrier=0.25)
    assert step.duration == pytest.approx(1 + 0.4 + 0.8 + 0.25)
    assert step.sent == pytest.approx(rest(core0=1.3))
    assert step.received == pytest.approx(rest(core6=2.2))
    assert step.occupancy == pytest.approx(1 / 5)  # spread over the link out of the core, three hops and the receiver
    assert step.blocked == 0


def test_a_step_without_messages_is_the_longest_sweep():
    step = detailed(messages(), rest(core2=3.0, core4=5.0), MESH, SECONDS, barrier=1.0)
    assert step.duration == 6.0
    assert busiest(messages(), rest(core2=3.0, core4=5.0), SECONDS, 1.0) == 6.0


def test_two_messages_to_one_core_wait_for_each_other():
    # The first is there at 1.4 and taken in until 2.2; the second, there at 1.6, waits until then.
    step = detailed(messages((0, 6, 3, 1.0), (1, 6, 3, 1.2)), rest(), MESH, SECONDS)
    assert step.received[6] == pytest.approx(2.2 + 0.8)


def test_two_messages_to_cores_of_one_tile_do_not_wait():
    step = detailed(messages((0, 6, 3, 1.0), (1, 7, 3, 1.2)), rest(), MESH, SECONDS)
    assert step.received[[6, 7]] == pytest.approx([2.2, 2.4])


def test_traffic_on_shared_links_slows_a_message():
    # Messages of 0 to 1 take 100. The first lands at once, the second waits for it in flight; the third, to core 7 and
    # ready at 3, shares the link out of core 0 with it, where it counts 1/2: travels 1/2 * 100 / (3 + 1) = 12.5.
    step = detailed(messages((0, 1, 995, 1.0), (0, 1, 995, 1.0), (0, 7, 5, 1.0)), rest(), MESH, SECONDS)
    assert step.received[1] == pytest.approx(1 + 100 + 100)
    assert step.received[7] == pytest.approx(3 + 12.5 + 1)
    assert step.occupancy == pytest.approx(1 / 2 + 1 / 5)


def test_row_before_column():
    standing = [(2, 3, 995, 1.0), (2, 3, 995, 0.5)]  # the second is in flight on row 0 from 1.5 until 101, 1/3 a link
    along_row = detailed(messages(*standing, (0, 6, 5, 2.0)), rest(), MESH, SECONDS)
    assert along_row.received[6] == pytest.approx(2 + 1 / 3 * 100 / 4 + 1)
    up = detailed(messages(*standing, (4, 3, 5, 2.0)), rest(), MESH, SECONDS)  # along row 1, then up to a busy core
    assert up.received[3] == pytest.approx(1.1 + 200 + 1)
    assert up.occupancy == pytest.approx(1 / 3)  # nothing shares a link: column first would make it 1/3 + 1/5


def test_a_full_route_holds_the_sender():
    # Each takes 100 and counts 1/2 on one link of one slot. Ready at 1, 2, 3, 4 they find 0, 0, 1/2, 1 on it; the
    # fifth, at 5, finds 3/2 and is held for (3/2 - 1) * 100; the sixth, at 56, finds 2 and is held for 100.
    row = [(0, 1, 995, 1.0)] * 6
    one = replace(SECONDS, slots=1.0)
    step = detailed(messages(*row), rest(core0=500.0), MESH, one)
    assert step.sent[0] == pytest.approx(156 + 500)
    assert step.blocked == pytest.approx(150)
    assert step.received[1] == pytest.approx(1 + 6 * 100)
    assert step.duration == pytest.approx(656)
    assert detailed(messages(*row), rest(core0=500.0), MESH, SECONDS).sent[0] == pytest.approx(506)


def test_a_longer_route_holds_more():
    # One hop: each counts 1/3 on two links, which hold 2 together. The sixth, ready at 6, finds four: 8/3.
    step = detailed(messages(*[(0, 2, 995, 1.0)] * 6), rest(), MESH, replace(SECONDS, slots=1.0))
    assert step.sent[0] == pytest.approx(6 + 2 / 3 * 100)


def test_the_law_is_not_monotone():
    # A message that is quickly taken in lowers the mean wait that the message to core 7 travels by, although it is not
    # on its way at all: documented, as `busiest` is the law to bound a step by.
    before = [(0, 1, 995, 1.0), (0, 1, 995, 1.0), (0, 7, 1995, 1.0)]
    slow = replace(SECONDS, along_column=10.0)
    alone = detailed(messages(*before), rest(), MESH, slow)
    beside = detailed(messages(*before, (2, 5, 15, 2.5)), rest(), MESH, slow)
    assert alone.received[7] == pytest.approx(3 + 12.5 + 200)
    assert beside.received[7] == pytest.approx(
        3 + 0.1 * 2 + 10 + 200
    )  # (100 + 2) / 2 * 1/2 / 4 = 6.4 is less than hops
    assert beside.duration < alone.duration


@st.composite
def traffic(draw, most: int = 14) -> Messages:
    row = st.tuples(st.integers(0, CORES - 1), st.integers(0, CORES - 1), st.integers(0, 60), st.floats(0.01, 2.0))
    return messages(*draw(st.lists(row, max_size=most)))


sweeps = st.lists(st.floats(0, 3), min_size=CORES, max_size=CORES).map(np.array)
tight = st.sampled_from([0.2, 1.0, 16.0]).map(lambda slots: replace(SECONDS, slots=slots))


@given(traffic(), sweeps, tight)
def test_never_faster_than_the_busiest_core(sent, left, seconds):
    step = detailed(sent, left, MESH, seconds, barrier=0.5)
    assert step.duration >= busiest(sent, left, seconds, 0.5) * (1 - 1e-9)
    assert step.duration == pytest.approx(max(step.sent.max(), step.received.max()) + 0.5)
    assert step.blocked >= 0


@given(traffic(), sweeps)
def test_equal_to_the_busiest_core_where_sweeps_outlast_all_messages(sent, left):
    long = left + 1_000  # 14 messages of 6.5 s at most
    assert detailed(sent, long, MESH, SECONDS).duration == pytest.approx(busiest(sent, long, SECONDS), rel=1e-12)


@given(traffic(), sweeps, tight, st.integers(0, CORES - 1), st.floats(0, 5))
def test_a_longer_sweep_or_barrier_never_shortens(sent, left, seconds, core, more):
    step = detailed(sent, left, MESH, seconds)
    assert detailed(sent, left + more * (np.arange(CORES) == core), MESH, seconds).duration >= step.duration
    assert detailed(sent, left, MESH, seconds, more).duration == step.duration + more


@given(traffic(), sweeps, tight, st.randoms(use_true_random=False))
def test_only_the_order_within_a_core_counts(sent, left, seconds, random):
    by_core = {core: np.flatnonzero(sent.sender == core).tolist() for core in range(CORES)}
    turns = sent.sender.tolist()
    random.shuffle(turns)
    order = np.array([by_core[core].pop(0) for core in turns], int)
    shuffled = Messages(sent.sender[order], sent.receiver[order], sent.synapses[order], sent.delay[order])
    duration = detailed(sent, left, MESH, seconds).duration
    assert detailed(shuffled, left, MESH, seconds).duration == pytest.approx(duration)


@given(traffic(), sweeps, tight)
def test_mirrored_meshes_are_alike(sent, left, seconds):
    step = detailed(sent, left, MESH, seconds)
    for mirrored in (Mesh(2 - MESH.column, MESH.row), Mesh(MESH.column, 1 - MESH.row)):
        assert detailed(sent, left, mirrored, seconds).duration == pytest.approx(step.duration)


GAP = 10.0
"""Longer than any message of `traffic` needs from its sender to the end of being taken in: 0.4 + 0.5 + 60 * 0.1."""


def one_at_a_time(sent: Messages) -> Messages:
    """The same messages, each ready `GAP` after the one before it, whoever sent that."""
    delay, before = np.zeros(len(sent.sender)), np.zeros(CORES)
    for number, sender in enumerate(sent.sender):
        ready = GAP * (number + 1)
        delay[number], before[sender] = ready - before[sender], ready
    return replace(sent, delay=delay)


@given(traffic(), sweeps)
def test_messages_one_at_a_time_cost_what_they_take(sent, left):
    step = detailed(one_at_a_time(sent), left, MESH, SECONDS)
    done, ready = left.copy(), GAP * np.arange(1, len(sent.sender) + 1)
    for at, sender in zip(ready, sent.sender, strict=True):
        done[sender] = at + left[sender]
    across = np.abs(MESH.column[sent.sender] - MESH.column[sent.receiver])
    down = np.abs(MESH.row[sent.sender] - MESH.row[sent.receiver])
    arrived = ready + 0.1 * across + 0.2 * down + 0.5 + 0.1 * sent.synapses
    assert step.duration == pytest.approx(max(done.max(), arrived.max(initial=0)))
    assert step.blocked == 0


@given(traffic(), sweeps, tight, st.integers(0, CORES - 1), st.integers(0, CORES - 1), st.integers(0, 60))
def test_a_message_behind_all_others_never_shortens(sent, left, seconds, sender, receiver, synapses):
    # Nor do more synapses of it, or a longer way: what went before it is as it was.
    def behind(receiver: int, synapses: int) -> float:
        late = messages((sender, receiver, synapses, 10_000.0))  # long after all 14 others have been taken in
        joined = [
            np.concatenate([getattr(sent, f), getattr(late, f)]) for f in ("sender", "receiver", "synapses", "delay")
        ]
        return detailed(Messages(*joined), left, MESH, seconds).duration

    before = detailed(sent, left, MESH, seconds).duration
    assert before <= behind(sender, synapses) <= behind(sender, synapses + 1)
    assert behind(sender, synapses) <= behind(receiver, synapses)


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInput, match="mesh has 8 cores"):
        detailed(messages((0, 8, 1, 1.0)), rest(), MESH, SECONDS)
    with pytest.raises(BadInput, match="negative"):
        detailed(messages((0, 1, 1, -1.0)), rest(), MESH, SECONDS)
    with pytest.raises(BadInput, match=r"seconds\.synop"):
        detailed(messages((0, 1, 1, 1.0)), rest(), MESH, replace(SECONDS, synop=np.ones(3)))
