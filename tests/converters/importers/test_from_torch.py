"""Every operator against PyTorch itself, from the module and from the file; what is refused; real constructions."""

import re
from pathlib import Path

import numpy as np
import pytest

from converters.importers.from_torch import from_module, load
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import Activation, Add, AvgPool, Concat, Conv, Dense, MaxPool, Relu, Reshape, Scale, Softmax

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

TOLERANCE = 1e-5
EXPORTING = pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning")
"""PyTorch's own use of what it deprecates."""
pytestmark = [EXPORTING, pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")]


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function, **tensors):
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, x):
        return self.function(x, **dict(self.named_buffers()))


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """All weights and statistics drawn anew, so that none has a special value."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                fresh = torch.randn(tensor.shape, generator=draw) * 0.5
                tensor.copy_(fresh.abs() + 0.5 if "var" in name else fresh)
    return module.eval()


def output(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(evaluator(graph, (graph.output.name,))(x.astype(np.float32))[0])


def saved(module: nn.Module, shape: tuple[int, ...], folder: Path, name: str = "net.pt2") -> Path:
    path = folder / name
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(1, *shape),)), path)
    return path


def agreeing(module: nn.Module, shape: tuple[int, ...], folder: Path, samples: int = 3) -> Graph:
    """The imported graph, once it agrees with the module on random inputs, as does the one from a file."""
    module = module.eval()
    x = np.random.default_rng(3).normal(size=(samples, *shape)).astype(np.float32) * 2
    with torch.no_grad():  # one by one, as exported
        wanted = np.concatenate([module(torch.from_numpy(sample[None].copy())).numpy() for sample in x])
    graph = from_module(module, shape)
    read = load(saved(module, shape, folder))
    assert [(n.name, type(n.op), n.inputs) for n in read.nodes] == [(n.name, type(n.op), n.inputs) for n in graph.nodes]
    for found in (graph, read):
        values = output(found, x)
        assert values.shape == wanted.shape
        assert np.abs(values - wanted).max() < TOLERANCE * max(1, np.abs(wanted).max())
    return graph


def kinds(graph: Graph) -> list[type]:
    return [type(n.op) for n in graph.nodes[1:]]


def refused(module: nn.Module, shape: tuple[int, ...], folder: Path) -> str:
    with pytest.raises(Unsupported) as caught:
        from_module(module, shape)
    with pytest.raises(Unsupported) as again:
        load(saved(module, shape, folder, "network.pt2"))
    assert str(again.value) == str(caught.value)
    return str(caught.value)


# Functions of each value


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.ReLU(inplace=True), Function(F.relu), Function(torch.relu), Function(lambda x: x.clamp(min=0)),
     Function(lambda x: torch.clamp_min(x, 0)), Function(lambda x: torch.maximum(x, torch.zeros(1))),
     Function(lambda x: torch.where(x > 0, x, 0.0)), Function(lambda x: (x + x.abs()) / 2)],
)  # fmt: skip
def test_a_relu_is_a_relu_however_it_is_written(module, tmp_path):
    assert kinds(agreeing(module, (3, 4), tmp_path)) == [Relu]


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        (nn.ReLU6(), "clip", (0, 6)),
        (Function(F.relu6), "clip", (0, 6)),
        (nn.Hardtanh(-2, 0.5), "clip", (-2, 0.5)),
        (Function(lambda x: x.clamp(max=1.5)), "clip", (-np.inf, 1.5)),
        (Function(lambda x: x.clamp(-1, 2)), "clip", (-1, 2)),
        (nn.LeakyReLU(0.2), "leaky_relu", (0.2,)),
        (nn.PReLU(init=0.3), "leaky_relu", (0.3,)),
        (nn.ELU(0.7), "elu", (0.7,)),
        (nn.SELU(), "selu", (1.6732632, 1.0507010)),
        (nn.Sigmoid(), "sigmoid", ()),
        (nn.Tanh(), "tanh", ()),
        (nn.Hardsigmoid(), "hard_sigmoid", (1 / 6, 0.5)),
        (nn.Hardswish(), "hard_swish", ()),
        (nn.Softplus(), "softplus", ()),
        (nn.Softsign(), "softsign", ()),
        (nn.SiLU(), "silu", ()),
        (Function(lambda x: x * torch.sigmoid(x)), "silu", ()),
        (nn.GELU(), "gelu", ()),
        (nn.GELU(approximate="tanh"), "gelu_tanh", ()),
        (Function(lambda x: 0.5 * x * (1 + torch.erf(x * 0.5**0.5))), "gelu", ()),
        (nn.Mish(), "mish", ()),
        (Function(lambda x: x * torch.tanh(F.softplus(x))), "mish", ()),
        (Function(torch.sign), "sign", ()),
    ],
)
def test_functions_of_each_value(module, name, parameters, tmp_path):
    graph = agreeing(nn.Sequential(nn.Linear(6, 5), module, nn.Linear(5, 3)), (6,), tmp_path)
    (op,) = [n.op for n in graph.nodes if isinstance(n.op, Activation)]
    assert op.function.name == name
    assert op.function.parameters == pytest.approx(parameters, rel=1e-6)


def test_a_scaled_function_is_a_function_between_scales(tmp_path):
    graph = agreeing(Function(lambda x: 3 * torch.tanh(2 * x + 1) - 1), (4,), tmp_path)
    assert kinds(graph) == [Scale, Activation, Scale]


def test_functions_that_are_none_are_refused_all_at_once(tmp_path):
    def function(x):
        y = F.softplus(x, beta=2.0)
        return torch.sin(y) + F.celu(x, alpha=0.5)

    message = refused(Function(function), (4,), tmp_path)
    assert "3 layers cannot be represented" in message
    for word in ("softplus", "sin", "celu"):
        assert word in message


# Convolutions, matrices, pools


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), bias=False),
        nn.Conv2d(4, 8, 3, groups=2, padding=1),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding=2),
        nn.Conv2d(4, 6, (3, 2), dilation=(1, 3)),
        nn.Conv2d(4, 6, (4, 3), padding="same"),
        nn.Conv2d(4, 6, (2, 4), padding="same", dilation=(3, 1)),
        nn.Conv2d(4, 6, 3, padding="valid"),
    ],
)
def test_convolutions_of_maps(module, tmp_path):
    assert kinds(agreeing(randomised(module), (4, 9, 8), tmp_path)) == [Conv]


@pytest.mark.parametrize("module", [nn.Conv1d(3, 6, 5, 2, 3, dilation=2, groups=3), nn.Conv1d(3, 2, 4, padding="same")])
def test_convolutions_of_series(module, tmp_path):
    assert kinds(agreeing(randomised(module), (3, 17), tmp_path)) == [Conv]


def test_matrices(tmp_path):
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    assert kinds(agreeing(randomised(nn.Linear(5, 7)), (5,), tmp_path)) == [Dense]
    assert kinds(agreeing(Function(lambda x, w: x @ w, w=w), (5,), tmp_path)) == [Dense]
    assert kinds(agreeing(Function(lambda x, w: torch.addmm(w[0] * 0 + 1, x, w), w=w), (5,), tmp_path)) == [Dense]


def test_a_matrix_at_every_place_is_a_convolution_of_one_value(tmp_path):
    graph = agreeing(nn.Sequential(randomised(nn.Linear(5, 7)), nn.ReLU(), nn.Flatten()), (4, 5), tmp_path)
    assert Conv in kinds(graph)
    assert Dense not in kinds(graph)


def test_channels_last_ends_in_the_columns_of_the_matrix(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), Function(lambda x: x.permute(0, 2, 3, 1)), nn.Flatten(), nn.Linear(48, 5)
    )
    assert kinds(agreeing(randomised(net), (2, 6, 6), tmp_path)) == [Conv, Relu, Reshape, Dense]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.MaxPool2d(2), (3, 7, 8)),
        (nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)), (3, 7, 8)),
        (nn.MaxPool2d(2, ceil_mode=True), (3, 6, 8)),
        (nn.MaxPool1d(3, 2), (3, 9)),
        (nn.AdaptiveMaxPool2d((2, 4)), (3, 6, 8)),
        (Function(lambda x: x.amax(dim=(2, 3))), (3, 5, 4)),
    ],
)
def test_max_pools(module, shape, tmp_path):
    assert MaxPool in kinds(agreeing(module, shape, tmp_path))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.AvgPool2d(2), (3, 7, 8)),
        (nn.AvgPool2d(3, stride=2, padding=1), (3, 7, 8)),
        (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (3, 7, 8)),
        (nn.AvgPool2d(2, divisor_override=3), (3, 6, 8)),
        (nn.AvgPool1d(3, 2), (3, 9)),
        (nn.AdaptiveAvgPool2d(1), (3, 6, 8)),
        (nn.AdaptiveAvgPool2d((3, None)), (3, 6, 8)),
        (nn.AdaptiveAvgPool1d(3), (3, 9)),
        (Function(lambda x: x.mean(dim=(-2, -1))), (3, 5, 4)),
        (Function(lambda x: x.mean((2, 3), keepdim=True)), (3, 5, 4)),
        (Function(lambda x: x.mean(1)), (3, 5, 4)),
        (Function(lambda x: x.sum(dim=(2,))), (3, 5, 4)),
    ],
)
def test_mean_pools(module, shape, tmp_path):
    assert AvgPool in kinds(agreeing(module, shape, tmp_path))


@pytest.mark.parametrize(
    ("module", "shape", "word"),
    [
        (nn.MaxPool2d(2, ceil_mode=True), (3, 7, 8), "ceil_mode"),
        (nn.MaxPool2d(2, dilation=2), (3, 7, 8), "dilation"),
        (nn.AdaptiveAvgPool2d(4), (3, 6, 8), "equal parts"),
        (nn.ConvTranspose2d(3, 2, 3), (3, 6, 8), "no layer|transposed"),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), "no layer|spatial"),
        (nn.LSTM(4, 5), (3, 4), "lstm"),
        (nn.LayerNorm(4), (4,), "layer_norm"),
        (randomised(nn.PReLU(3)), (3, 4), "differs from value to value"),
        (Function(lambda x: x * x.mean(1, keepdim=True)), (3, 4), "only equal shapes"),
        (Function(lambda x: torch.softmax(x, 1) * 2), (4,), "only the last layer"),
        (Function(lambda x: x.chunk(2, 1)[1]), (4,), "first output"),
        (Function(lambda x: x.flatten()), (4,), "batch"),
        (Function(lambda x: x.squeeze()), (1, 4), "batch"),
        (Function(lambda x: F.pad(x, (1, 1), value=2.0)), (4,), "only zeros"),
        (Function(lambda x: F.pad(x, (1, 1), mode="reflect")), (2, 4), "reflect"),
        (Function(lambda x: torch.cat([x, x], 0)), (4,), "batch"),
    ],
)
def test_what_is_refused(module, shape, word, tmp_path):
    module = module if not isinstance(module, nn.LSTM) else Function(lambda x, m=module: m(x)[0])
    with pytest.raises(Unsupported) as caught:
        from_module(module, shape)
    assert re.search(word, str(caught.value)), str(caught.value)


# Normalisation, arithmetic, shapes


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.BatchNorm2d(3), (3, 4, 5)), (nn.BatchNorm1d(3), (3, 4)), (nn.BatchNorm1d(3), (3,)),
        (nn.BatchNorm2d(3, affine=False, eps=0.1), (3, 4, 5)),
    ],
)  # fmt: skip
def test_batch_norm(module, shape, tmp_path):
    assert kinds(agreeing(randomised(module), shape, tmp_path)) == [Scale]


def test_batch_norm_without_statistics_is_refused():
    with pytest.raises(Unsupported, match="batch"):
        from_module(nn.BatchNorm2d(3, track_running_stats=False), (3, 4, 5))


def test_arithmetic_with_constants_is_one_scale(tmp_path):
    column = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    graph = agreeing(Function(lambda x, c: 5 - (x / c - 1) * c * 2 + c, c=column), (3, 4), tmp_path)
    assert kinds(graph) == [Scale]
    assert kinds(agreeing(Function(lambda x: torch.add(x, 3, alpha=2) - 4), (3,), tmp_path)) == [Scale]
    assert kinds(agreeing(Function(lambda x: torch.rsub(x, 3)), (3,), tmp_path)) == [Scale]


def test_a_constant_added_by_channel_is_a_bias(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, bias=False)
            self.shift = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

        def forward(self, x):
            return self.conv(x) + self.shift[:, None, None]

    graph = agreeing(Net(), (2, 5, 5), tmp_path)
    assert kinds(graph) == [Conv]
    assert graph.output.op.bias.tolist() == [1, 2, 3]


def test_residual_and_branches(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)

        def forward(self, x):
            y = F.relu(self.a(x) + x)
            z = torch.cat([y, F.relu(self.b(y)) - 1], dim=1)
            return z - z.tanh()

    graph = agreeing(randomised(Net()), (2, 5, 5), tmp_path)
    assert kinds(graph).count(Add) == 2
    assert kinds(graph).count(Concat) == 1
    assert {"a", "b"} <= {n.name for n in graph.nodes}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1), lambda x: x.view(1, -1), lambda x: x.reshape(x.shape[0], 6, 4),
        lambda x: x.transpose(1, 2),
        lambda x: x.permute(0, 3, 1, 2).contiguous(), lambda x: x.unsqueeze(1).transpose(1, 3).squeeze(-1),
        lambda x: x.transpose(1, 3).flatten(2) + 1, lambda x: F.pad(x, (1, 0, 2, 1)), lambda x: x.swapaxes(-1, 1),
        lambda x: F.dropout(x.detach().clone(), 0.5, training=False), lambda x: x.chunk(1, 1)[0] * 2,
        lambda x: x.unflatten(1, (2, 1)) * 2, lambda x: x.movedim(1, 3), lambda x: x[:, :, :] * 3,
        lambda x: x.permute(0, 2, 3, 1).flatten(1).reshape(1, 4, 6).transpose(1, 2),
    ],
)  # fmt: skip
def test_values_moved(function, tmp_path):
    agreeing(Function(function), (2, 3, 4), tmp_path)


@pytest.mark.parametrize("function", [nn.Softmax(dim=1), nn.Softmax(dim=-1)])
def test_a_last_softmax(function, tmp_path):
    assert kinds(agreeing(nn.Sequential(randomised(nn.Linear(4, 3)), function), (4,), tmp_path)) == [Dense, Softmax]


def test_a_last_log_softmax_becomes_its_exponential():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    net = nn.Sequential(randomised(nn.Linear(4, 3)), nn.LogSoftmax(dim=-1))
    wanted = net(torch.from_numpy(x)).exp().detach().numpy()
    assert np.abs(output(from_module(net, (4,)), x) - wanted).max() < TOLERANCE


def test_embedding():
    net = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), randomised(nn.Linear(12, 2)))
    x = np.array([[0, 6, 3, 1], [5, 5, 2, 4]])
    graph = from_module(net, (4,), whole=True)
    assert np.abs(output(graph, x) - net(torch.from_numpy(x)).detach().numpy()).max() < TOLERANCE
    cast = nn.Sequential(Function(lambda x: x.long()), net)
    assert np.abs(output(from_module(cast, (4,)), x) - net(torch.from_numpy(x)).detach().numpy()).max() < TOLERANCE


def test_weights_that_are_computed(tmp_path):
    net = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    assert kinds(agreeing(net, (4,), tmp_path)) == [Dense]


def test_a_decomposed_program_is_the_same_network(tmp_path):
    net = randomised(
        nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2), nn.Hardswish(),
                      nn.Conv2d(4, 4, 1), nn.Mish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
                      nn.Softmax(1))
    )  # fmt: skip
    program = torch.export.export(net, (torch.zeros(1, 2, 8, 8),))
    torch.export.save(program.run_decompositions(), tmp_path / "network.pt2")
    graph, direct = load(tmp_path / "network.pt2"), from_module(net, (2, 8, 8))
    assert kinds(graph) == kinds(direct)
    x = np.random.default_rng(0).normal(size=(4, 2, 8, 8)).astype(np.float32)
    assert np.abs(output(graph, x) - net(torch.from_numpy(x)).detach().numpy()).max() < TOLERANCE


# Changes in place, modes, inputs


def test_changes_in_place_are_seen_by_later_readers(tmp_path):
    def function(x):
        y = x * 2
        F.relu(y, inplace=True)
        y += x
        return y - 1

    assert Relu in kinds(agreeing(Function(function), (4,), tmp_path))


def test_changes_in_place_of_shared_values_are_refused(tmp_path):
    def function(x):
        y = x * 2
        z = y.view(1, 2, 2)
        y.relu_()
        return z.flatten(1) + y

    assert "in place" in refused(Function(function), (4,), tmp_path)


def test_the_module_keeps_its_mode():
    net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval(), nn.Linear(3, 2)).train()
    net[1].eval()
    assert kinds(from_module(net, (3,))) == [Scale, Dense]
    assert [m.training for m in net.modules()] == [True, True, False, True]


def test_modules_that_do_not_run_or_have_two_inputs():
    with pytest.raises(BadInput, match=r"torch\.export\.export fails"):
        from_module(nn.Linear(3, 2), (4,))
    with pytest.raises(BadInput, match="2 outputs"):
        from_module(Function(lambda x: (x, x + 1)), (4,))
    with pytest.raises(BadInput, match="does not depend"):
        from_module(Function(lambda x: torch.ones(1, 3)), (4,))


def test_layers_are_called_as_in_the_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(F.gelu(self.features(x)).flatten(1))

    names = [n.name for n in from_module(Net(), (1, 6, 6)).nodes]
    assert names[:5] == ["x", "features.0", "features.1", "features.2", "gelu"]
    assert names[-1] == "head"


def test_a_module_used_twice_gives_two_layers(tmp_path):
    linear = randomised(nn.Linear(4, 4))
    graph = agreeing(nn.Sequential(linear, nn.ReLU(), linear), (4,), tmp_path)
    assert [n.name for n in graph.nodes[1:]] == ["0", "1", "2"]


def test_a_part_of_the_input(tmp_path):
    agreeing(Function(lambda x: x[:, 1:]), (4,), tmp_path)
