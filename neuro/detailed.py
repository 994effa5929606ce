"""The time of one step by events: every message on its way through the mesh, its waits and its receiver.

The step-time law takes the busiest core and lets messages arrive when they please. Here they queue. Each core sends its
messages in order; a route that is full holds the sender back, traffic on shared links slows a message down, and a
core takes in one message after another. What is on a link is a density, not a slot: a message in flight counts
1/(hops + 2) on the link out of its core and on every link of its route, the rest of it standing at the receiver.

The law is not monotone: a message that is quickly taken in lowers the mean time that all others wait by, and hops
thin a message out. It is never below `busiest`.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from jaxtyping import Float, Int

from neuro.errors import BadInput


@dataclass(frozen=True)
class Messages:
    """The messages of one step, those of one core in the order in which it sends them.

    sender, receiver: cores. synapses: synaptic operations each causes at its receiver. delay: s that the sender works
    for a message after the one before it, or after the start of the step.
    """

    sender: Int[np.ndarray, "message"]
    receiver: Int[np.ndarray, "message"]
    synapses: Int[np.ndarray, "message"]
    delay: Float[np.ndarray, "message"]


@dataclass(frozen=True)
class Mesh:
    """Where the router of each core stands. Messages go along their row first, then along the column."""

    column: Int[np.ndarray, "core"]
    row: Int[np.ndarray, "core"]


@dataclass(frozen=True)
class Seconds:
    """What takes how long, in s. along_row, along_column: one hop. axon_in: one message taken in. synop: one synaptic
    operation at each core. slots: messages that a link can buffer, a number."""

    along_row: float
    along_column: float
    axon_in: float
    synop: Float[np.ndarray, "core"]
    slots: float


@dataclass(frozen=True)
class Step:
    """One step. duration: s, barrier included. sent, received: s until each core has swept its neurons and sent
    everything, and until it has taken in its last message. occupancy: the most messages on one link at any time.
    blocked: s that senders were held back, all together."""

    duration: float
    sent: Float[np.ndarray, "core"]
    received: Float[np.ndarray, "core"]
    occupancy: float
    blocked: float


def busiest(messages: Messages, rest: Float[np.ndarray, "core"], seconds: Seconds, barrier: float = 0.0) -> float:
    """Seconds of the step if no message waits or travels.

    max over cores of max(sum of delays + rest, sum of (axon_in + synapses * synop)) + barrier.
    """
    cores = len(rest)
    sweep = rest + np.bincount(messages.sender, messages.delay, cores)
    return float(max(sweep.max(), np.bincount(messages.receiver, _taken(messages, seconds), cores).max()) + barrier)


def detailed(
    messages: Messages, rest: Float[np.ndarray, "core"], mesh: Mesh, seconds: Seconds, barrier: float = 0.0
) -> Step:
    """The step, message by message in the order in which cores are ready to send.

    rest: s that each core still works after its last message. A message ready at t finds on its way the sum O of
    densities over the hops + 1 links that it leaves through, and all messages in flight, wherever, take m on average
    to be taken in. Then

        leaves at    t + max(0, O - slots (hops + 1)) m
        travels for  max(time of its hops, O m / (hops + 1))
        is taken in  from max(arrival, receiver free) on, for axon_in + synapses * synop,

    and is in flight until it begins to be taken in. Receivers serve in the order of sending; of messages ready at the
    same time the one of the lower core goes first.

    Raises:
        BadInput: arrays of different lengths, a core outside the mesh, or a negative duration.
    """
    cores = len(rest)
    _check(messages, rest, mesh, seconds)
    routes, links = _routes(messages, mesh, seconds)
    delay, receivers, takes = messages.delay.tolist(), messages.receiver.tolist(), _taken(messages, seconds).tolist()
    queues: list[list[int]] = [[] for _ in range(cores)]  # numbers of messages, the next one last
    for number, sender in reversed(list(enumerate(messages.sender.tolist()))):
        queues[sender].append(number)
    ready = [(delay[queue[-1]], sender) for sender, queue in enumerate(queues) if queue]
    heapify(ready)
    flying: list[tuple[float, int]] = []  # when a message begins to be taken in, and its number
    density, waiting = [0.0] * links, 0.0
    sent, free = [0.0] * cores, [0.0] * cores
    peak, blocked = 0.0, 0.0
    while ready:
        time, sender = heappop(ready)
        while flying and flying[0][0] <= time:
            landed = heappop(flying)[1]
            waiting = waiting - takes[landed] if flying else 0.0  # no rounding is left once nothing flies
            way = routes[landed][0]
            for link in way:
                density[link] -= 1 / (len(way) + 1)
        number = queues[sender].pop()
        (way, hops), receiver = routes[number], receivers[number]
        occupied, mean = sum([density[link] for link in way]), waiting / max(1, len(flying))
        held = max(0.0, occupied - seconds.slots * len(way)) * mean
        time, blocked = time + held, blocked + held
        begin = max(time + max(hops, occupied * mean / len(way)), free[receiver])
        sent[sender], free[receiver] = time, begin + takes[number]
        for link in way:
            density[link] += 1 / (len(way) + 1)
            peak = max(peak, density[link])
        waiting += takes[number]
        heappush(flying, (begin, number))
        if queues[sender]:
            heappush(ready, (time + delay[queues[sender][-1]], sender))
    done, received = np.array(sent) + rest, np.array(free)
    return Step(float(max(done.max(), received.max()) + barrier), done, received, peak, blocked)


def _taken(messages: Messages, seconds: Seconds) -> Float[np.ndarray, "message"]:
    """s in which each message is taken in."""
    return seconds.axon_in + messages.synapses * seconds.synop[messages.receiver]


def _routes(messages: Messages, mesh: Mesh, seconds: Seconds) -> tuple[list[tuple[list[int], float]], int]:
    """The links that each message leaves a core or a router through, with s for its hops; and how many links there are.

    The link out of a core has the core's number; behind them come four links of each router.
    """
    column, row, cores = mesh.column.tolist(), mesh.row.tolist(), len(mesh.column)
    width, height = max(column) + 1, max(row) + 1

    def route(sender: int, receiver: int) -> tuple[list[int], float]:
        across, down = column[receiver] - column[sender], row[receiver] - row[sender]
        links, router = [sender], row[sender] * width + column[sender]
        for hops, forth, back, stride in ((across, 0, 1, 1), (down, 2, 3, width)):
            for _ in range(abs(hops)):
                links.append(cores + 4 * router + (forth if hops > 0 else back))
                router += stride if hops > 0 else -stride
        return links, abs(across) * seconds.along_row + abs(down) * seconds.along_column

    pairs = list(zip(messages.sender.tolist(), messages.receiver.tolist(), strict=True))
    known = {pair: route(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs], cores + 4 * width * height


def _check(messages: Messages, rest: np.ndarray, mesh: Mesh, seconds: Seconds) -> None:
    lengths = {"mesh.column": len(mesh.column), "mesh.row": len(mesh.row), "seconds.synop": len(seconds.synop)}
    if wrong := {name: n for name, n in lengths.items() if n != len(rest)}:
        raise BadInput(f"rest is of {len(rest)} cores, {wrong} differ; give one entry for each core.")
    ends = np.concatenate([messages.sender, messages.receiver])
    if len(ends) and not 0 <= ends.min() <= ends.max() < len(rest):
        raise BadInput(f"a message between cores {ends.min()} and {ends.max()}; the mesh has {len(rest)} cores.")
    least = min(messages.delay.min(initial=0), messages.synapses.min(initial=0), rest.min(initial=0))
    if least < 0:
        raise BadInput(f"a delay, a rest or a number of synapses is {least}; none can be negative.")
