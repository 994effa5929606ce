"""Published networks as workloads, built from their tables of layers, and a shorthand for their cost."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from baselines import device as machines
from baselines.device import load, nominal
from baselines.workload import LayerWork, Workload, convolution, dense, elementwise
from neuro.cost import Cost, cost

Priced = Callable[..., Cost]


def square(name: str, enter: int, leave: int, kernel: int, stride: int, out: int, groups: int = 1) -> LayerWork:
    """A convolution with square kernel and maps, its input padded to what it reads."""
    size = (out - 1) * stride + kernel
    return convolution(name, (enter, leave), (kernel, kernel), (stride, stride), (size, size), (out, out), groups)


def resnet50(size: int, downsample: str) -> Workload:
    """ResNet-50 for maps of `size`; v1 strides in the first 1x1 convolution of a block, v1.5 in the 3x3 one."""
    out = -(-size // 2)
    layers = [square("conv1", 3, 64, 7, 2, out)]
    layers.append(elementwise("pool", "pool", 64 * out**2, 64 * (-(-out // 2)) ** 2))
    out, enter = -(-out // 2), 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            stride = 2 if block == 0 and stage else 1
            before, out = out, -(-out // stride)
            first = downsample == "v1"
            name = f"{stage}.{block}"
            layers.append(square(f"{name}a", enter, width, 1, stride if first else 1, out if first else before))
            layers.append(square(f"{name}b", width, width, 3, 1 if first else stride, out))
            if block == 0:
                layers.append(square(f"{name}d", enter, 4 * width, 1, stride, out))
            last = square(f"{name}c", width, 4 * width, 1, 1, out)
            layers.append(replace(last, inputs=last.inputs + last.outputs))  # the residual is read too
            enter = 4 * width
    layers += [elementwise("mean", "pool", 2048 * out**2, 2048), dense("fc", 2048, 1000)]
    return Workload(f"resnet50-{downsample}", tuple(layers))


def mobilenet(alpha: float, size: int, classes: int) -> Workload:
    """MobileNetV1 with width multiplier `alpha`, channels in multiples of 8."""
    out, enter = size // 2, int(32 * alpha)
    layers = [square("conv", 3, enter, 3, 2, out)]
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for i, (full, stride) in enumerate(blocks):
        leave, out = int(full * alpha), out // stride
        layers += [square(f"{i}d", enter, enter, 3, stride, out, enter), square(f"{i}p", enter, leave, 1, 1, out)]
        enter = leave
    layers += [elementwise("mean", "pool", enter * out**2, enter), dense("fc", enter, classes)]
    return Workload("mobilenet", tuple(layers))


def vgg16() -> Workload:
    layers, enter, out = [], 3, 224
    for i, (leave, repeats) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for j in range(repeats):
            layers.append(square(f"{i}.{j}", enter, leave, 3, 1, out))
            enter = leave
        out //= 2
    layers += [dense("fc6", 25088, 4096), dense("fc7", 4096, 4096), dense("fc8", 4096, 1000)]
    return Workload("vgg16", tuple(layers))


def squeezenet() -> Workload:
    layers, enter = [square("conv1", 3, 96, 7, 2, 111)], 96
    fires = ((16, 64, 55), (16, 64, 55), (32, 128, 55), (32, 128, 27), (48, 192, 27), (48, 192, 27), (64, 256, 27))
    for i, (squeeze, expand, out) in enumerate((*fires, (64, 256, 13))):
        layers += [square(f"{i}s", enter, squeeze, 1, 1, out)]
        layers += [square(f"{i}e{k}", squeeze, expand, k, 1, out) for k in (1, 3)]
        enter = 2 * expand
    return Workload("squeezenet", (*layers, square("conv10", 512, 1000, 1, 1, 13)))


def inception() -> Workload:
    layers = [square("c1", 3, 64, 7, 2, 112), square("c2", 64, 64, 1, 1, 56), square("c3", 64, 192, 3, 1, 56)]
    enter = 192
    table = (
        (64, 96, 128, 16, 32, 32, 28), (128, 128, 192, 32, 96, 64, 28), (192, 96, 208, 16, 48, 64, 14),
        (160, 112, 224, 24, 64, 64, 14), (128, 128, 256, 24, 64, 64, 14), (112, 144, 288, 32, 64, 64, 14),
        (256, 160, 320, 32, 128, 128, 14), (256, 160, 320, 32, 128, 128, 7), (384, 192, 384, 48, 128, 128, 7),
    )  # fmt: skip
    for i, (one, three_in, three, five_in, five, pool, out) in enumerate(table):
        cut = ((enter, one, 1), (enter, three_in, 1), (three_in, three, 3), (enter, five_in, 1), (five_in, five, 3))
        layers += [square(f"{i}.{j}", a, b, k, 1, out) for j, (a, b, k) in enumerate((*cut, (enter, pool, 1)))]
        enter = one + three + five + pool
    return Workload("inception", (*layers, dense("fc", 1024, 1000)))


def alexnet() -> Workload:
    """The five convolutions, with the zeros of Eyeriss' published table."""
    rows = (
        (3, 96, 11, 4, 55, 1, 227, 0.0001), (96, 256, 5, 1, 27, 2, 27, 0.387), (256, 384, 3, 1, 13, 1, 13, 0.725),
        (384, 384, 3, 1, 13, 2, 13, 0.793), (384, 256, 3, 1, 13, 2, 13, 0.776),
    )  # fmt: skip
    layers = []
    for i, (enter, leave, kernel, stride, out, groups, read, zeros) in enumerate(rows):
        after = rows[i + 1][-1] if i < 4 else 0.0
        layer = square(f"conv{i + 1}", enter, leave, kernel, stride, out, groups)
        layers.append(replace(layer, inputs=enter * read**2, zeros=zeros, zero_outputs=after))
    return Workload("alexnet", tuple(layers))


def resnet8() -> Workload:
    table = ((3, 16, 3, 1, 32), (16, 16, 3, 1, 32), (16, 16, 3, 1, 32), (16, 32, 3, 2, 16), (32, 32, 3, 1, 16),
             (16, 32, 1, 2, 16), (32, 64, 3, 2, 8), (64, 64, 3, 1, 8), (32, 64, 1, 2, 8))  # fmt: skip
    layers = [square(f"conv{i}", *row) for i, row in enumerate(table)]
    return Workload("ic", (*layers, elementwise("mean", "pool", 4096, 64), dense("fc", 64, 10)))


def dscnn() -> Workload:
    layers = [convolution("conv", (1, 64), (10, 4), (2, 2), (58, 12), (25, 5))]
    for i in range(4):
        layers.append(convolution(f"{i}d", (64, 64), (3, 3), (1, 1), (27, 7), (25, 5), 64))
        layers.append(convolution(f"{i}p", (64, 64), (1, 1), (1, 1), (25, 5), (25, 5)))
    return Workload("kws", (*layers, elementwise("mean", "pool", 8000, 64), dense("fc", 64, 12)))


def autoencoder() -> Workload:
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    return Workload("ad", tuple(dense(f"fc{i}", *pair) for i, pair in enumerate(pairwise(sizes))))


@pytest.fixture(scope="session")
def networks() -> dict[str, Workload]:
    """Published networks by name."""
    return {
        "resnet50": resnet50(224, "v1.5"),
        "resnet50-299": resnet50(299, "v1"),
        "mobilenet": mobilenet(1.0, 224, 1000),
        "inception": inception(),
        "squeezenet": squeezenet(),
        "vgg16": vgg16(),
        "alexnet": alexnet(),
        "ic": resnet8(),
        "kws": dscnn(),
        "vww": mobilenet(0.25, 96, 2),
        "ad": autoencoder(),
    }


@pytest.fixture(scope="session")
def priced() -> Priced:
    """The cost of a workload on a bundled device at the values of its constants."""

    def run(name: str, work: Workload, precision: str, batch: int = 1, boundary: str = "chip") -> Cost:
        device = load(name)
        counts = machines.counts(device, work, precision, batch)
        return cost(counts, machines.prices(device, nominal(device), boundary))

    return run
