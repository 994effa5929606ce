"""nn.LSTM, nn.GRU, nn.RNN and their cells against PyTorch, from the module and from the file; what is refused."""

import numpy as np
import pytest

from neuro.errors import Unsupported

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.converters.importers.test_from_torch import EXPORTING, agreeing, randomised  # noqa: E402

pytestmark = [EXPORTING, pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")]


class Read(nn.Module):
    """A recurrent layer and what `take` makes of what it gives."""

    def __init__(self, layer, take):
        super().__init__()
        self.layer, self.take = layer, take

    def forward(self, x):
        return self.take(*self.layer(x))


def layer(kind: str, **options) -> nn.Module:
    return getattr(nn, kind)(3, 4, batch_first=True, **options)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_the_whole_sequence_and_its_end(tmp_path, kind, options):
    for take in (lambda out, _: out, lambda out, _: out[:, -1], lambda out, _: out[:, 1:3].flatten(1)):
        agreeing(randomised(Read(layer(kind, **options), take)), (4, 3), tmp_path)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_last_states(tmp_path, kind):
    def hidden(state):
        return state[0] if kind == "LSTM" else state

    agreeing(randomised(Read(layer(kind), lambda _, s: hidden(s).squeeze(0))), (3, 3), tmp_path)
    agreeing(randomised(Read(layer(kind, num_layers=2), lambda _, s: hidden(s)[-1])), (3, 3), tmp_path)
    both = Read(layer(kind, bidirectional=True), lambda _, s: torch.cat([hidden(s)[-2], hidden(s)[-1]], 1))
    agreeing(randomised(both), (3, 3), tmp_path)
    if kind == "LSTM":
        agreeing(randomised(Read(layer(kind), lambda _, s: s[1][0])), (3, 3), tmp_path)


def test_relu_cells(tmp_path):
    agreeing(randomised(Read(layer("RNN", nonlinearity="relu"), lambda out, _: out[:, -1])), (3, 3), tmp_path)


class Loop(nn.Module):
    """Cells in a loop, whose state begins with zeros; the product of two of their states."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.LSTMCell(3, 5), nn.GRUCell(5, 4), nn.RNNCell(4, 4)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 5)
        g = r = None
        for t in range(x.shape[1]):
            h, c = self.one(x[:, t], (h, c))
            g = self.two(h, g)
            r = self.three(g, r)
        return g * r


def test_cells_in_a_loop(tmp_path):
    agreeing(randomised(Loop()), (3, 3), tmp_path)


class Handed(nn.Module):
    """One layer begins where another one ends."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layer("LSTM", num_layers=2), nn.LSTM(4, 4, 2, batch_first=True)

    def forward(self, x):
        out, state = self.first(x)
        return self.second(out, state)[0][:, -1]


def test_states_that_are_handed_on(tmp_path):
    agreeing(randomised(Handed()), (3, 3), tmp_path)


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (nn.LSTM(3, 4), (4, 3), "lstm 'layer': the batch is its second axis; build it with batch_first=True"),
        (layer("LSTM", proj_size=2), (4, 3), "projections (proj_size)"),
        (layer("GRU"), (65, 3), "gru 'layer': a sequence of 65 steps; up to 64 are written out"),
    ],
)
def test_what_is_refused(module, shape, reason):
    from converters.importers.from_torch import from_module

    with pytest.raises(Unsupported) as caught:
        from_module(Read(module, lambda out, _: out), shape)
    assert reason in str(caught.value)


def test_all_states_at_once_are_refused():
    from converters.importers.from_torch import from_module

    with pytest.raises(Unsupported, match=r"take one of them, h\[-1\]"):
        from_module(Read(layer("GRU", num_layers=2), lambda _, s: s.transpose(0, 1)), (4, 3))


def test_weights_are_not_shared_by_accident(tmp_path):
    """Two layers of one kind keep weights of their own."""
    torch.manual_seed(0)
    module = nn.Sequential(Read(layer("GRU"), lambda out, _: out), Read(nn.GRU(4, 4, batch_first=True), lambda o, _: o))
    graph = agreeing(randomised(module), (2, 3), tmp_path)
    weights = [n.op.weight for n in graph.nodes if type(n.op).__name__ == "Dense"]
    assert len({w.tobytes() for w in map(np.ascontiguousarray, weights)}) == 16  # of each: 4 + 4, one of them negated
