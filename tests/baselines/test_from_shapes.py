"""Networks by their shapes, against published totals, the tables of the fixtures and brute force."""

from math import prod
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from baselines.from_shapes import known, load, windows
from baselines.shapes import LARGEST_SIZE
from neuro.errors import BadDescription, BadInput

# Multiply-accumulates and parameters as published. Batch norm is folded, so that of its parameters one a channel is
# left; those of a network are published with all four (Keras), two (PyTorch) or folded: "norms" counts the others.
PUBLISHED = {
    "alexnet": (724_406_816, 60_965_224, 0),
    "vgg16": (15_470_264_320, 138_357_544, 0),
    "squeezenet": (818_924_576, 1_248_424, 0),
    "resnet18": (1_814_073_344, 11_689_512, 4_800),
    "resnet50": (4_089_184_256, 25_557_032, 26_560),
    "inception_v1": (1_498_376_192, 6_624_904, 7_280),
    "inception_v3": (5_713_216_096, 23_834_568, 17_216),
    "mobilenet_v1": (568_740_352, 4_231_976, 10_944),
    "mobilenet_v2": (300_774_272, 3_504_872, 17_056),
    "efficientnet_b0": (385_814_752, 5_288_548, 21_008),
    "efficientnet_lite0": (385_187_552, 4_652_008, 21_008),
    "tiny_yolo_v2": (3_485_520_896, 15_867_885, 3 * 3_056),
    "mlperf_tiny_ic": (12_501_632, 78_666, 3 * 320),
    "mlperf_tiny_kws": (2_656_768, 24_908, 3 * 576 + 576),
    "mlperf_tiny_vww": (7_489_664, 221_794, 4 * 2_736),
    "mlperf_tiny_ad": (264_192, 269_992, 4 * 1_032),
    "lenet5": (416_520, 61_706, 0),
    "vit_base": (17_563_828_224, 86_567_656, 768),
    "bert_large": (123_212_660_736, 334_094_338, 0),
    "gpt2_medium": (413_475_536_896, 354_823_168, 0),
    "gpt2_large": (887_285_350_400, 774_030_080, 0),
    "gptj_6b": (12_929_730_609_152, 6_050_882_784, 0),
    "opt_13b": (28_014_930_821_120, 12_853_473_280, 0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name):
    macs, parameters, norms = PUBLISHED[name]
    work = load(name)
    assert work.macs == macs
    assert work.weight_count == parameters - norms


@pytest.mark.parametrize(
    ("name", "macs", "weights", "within"),
    [
        ("ssd_mobilenet_v1", 2.47e9 / 2, 6.8e6, 0.01),  # MLPerf: 2.47 G operations
        ("ssd_resnet34", 433e9 / 2, 20.0e6, 0.01),  # MLPerf: 433 G operations
        ("alexnet_conv", (105.4 + 223.9 + 149.5 + 112.1 + 74.8) * 1e6, 2.33e6, 0.01),  # Eyeriss
        ("gpt3_xl", 3.097e12, 1.3e9, 0.02),
        ("resnet50_299", 7.3e9, 25.6e6, 0.02),
        ("retinanet", 201.2e9, 37.1e6, 0.01),
        ("tpu_mlp0", 20e6, 20e6, 0.01),
        ("tpu_mlp1", 5e6, 5e6, 0.01),
        ("tpu_lstm0", 52e6, 52e6, 0.01),
        ("tpu_lstm1", 34e6, 34e6, 0.01),
        ("tpu_cnn0", 2888 / 8 * 8e6, 8e6, 0.01),
        ("tpu_cnn1", 1750 / 32 * 100e6, 100e6, 0.01),
    ],
)
def test_published_figures_that_are_rounded(name, macs, weights, within):
    work = load(name)
    assert work.macs == pytest.approx(macs, rel=within)
    assert work.weight_count == pytest.approx(weights, rel=within)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("tpu_mlp0", {"dense": 5}),
        ("tpu_mlp1", {"dense": 4}),
        ("tpu_lstm0", {"dense": 24}),
        ("tpu_lstm1", {"dense": 37}),
        ("tpu_cnn0", {"conv": 16}),
        ("tpu_cnn1", {"conv": 72, "dense": 4}),
    ],
)
def test_layers_of_the_tpu_paper(name, kinds):
    layers = [layer.operator for layer in load(name).layers if layer.macs]
    assert {kind: layers.count(kind) for kind in set(layers)} == kinds


@pytest.mark.parametrize(("name", "vectors"), [("tpu_lstm0", 34), ("tpu_lstm1", 19)])
def test_vector_layers_of_the_tpu_paper(name, vectors):
    assert sum(layer.operator in ("activation", "scale") for layer in load(name, mode="eager").layers) == vectors


@pytest.mark.parametrize(
    ("name", "other"),
    [("resnet50", "resnet50"), ("resnet50_299", "resnet50-299"), ("mobilenet_v1", "mobilenet"), ("vgg16", "vgg16"),
     ("inception_v1", "inception"), ("alexnet_conv", "alexnet"), ("mlperf_tiny_ic", "ic"), ("mlperf_tiny_kws", "kws"),
     ("mlperf_tiny_vww", "vww"), ("mlperf_tiny_ad", "ad")],
)  # fmt: skip
def test_same_products_as_the_tables_of_the_fixtures(networks, name, other):
    def products(work):
        return sorted((x.m, x.n, x.k, x.groups, x.stride) for x in work.layers if x.macs)

    assert products(load(name)) == products(networks[other])


def test_folding_of_finn():
    """MH, MW and pixels of the published folding of CNV: outputs, inputs and positions of each product."""
    rows = [(64, 27, 900), (64, 576, 784), (128, 576, 144), (128, 1152, 100), (256, 1152, 9), (256, 2304, 1),
            (512, 256, 1), (512, 512, 1), (10, 512, 1)]  # fmt: skip
    assert [(x.n, x.k, x.m) for x in load("cnv").layers if x.macs] == rows


def test_zeros_of_eyeriss_are_written_by_the_layer_before(networks):
    layers, table = load("alexnet_conv").layers, networks["alexnet"].layers
    assert [(x.zeros, x.zero_outputs, x.inputs) for x in layers] == [(y.zeros, y.zero_outputs, y.inputs) for y in table]


@pytest.mark.parametrize("name", known())
def test_fusing_conserves_work_and_weights(name):
    eager, work = load(name, mode="eager"), load(name)
    assert (eager.mode, work.mode) == ("eager", "compiled")
    assert (eager.macs, eager.weight_count) == (work.macs, work.weight_count)
    assert not any(layer.fusable for layer in work.layers)
    assert len({layer.name for layer in work.layers}) == len(work.layers)
    for layer in work.layers:
        assert layer.macs == layer.steps * layer.groups * layer.m * layer.n * layer.k or layer.macs == 0


@pytest.mark.parametrize("name", [n for n in known() if n.startswith("resnet")])
def test_residual_networks_in_both_modes(name):
    """Every convolution of a framework is followed by its norm; compiled, nothing but products and pools is left."""
    kinds = [layer.operator for layer in load(name, mode="eager").layers]
    assert kinds.count("norm") == kinds.count("conv")
    left = {layer.operator for layer in load(name).layers}
    assert left == {"conv", "pool", "dense", "softmax"}


def test_sizes_are_overridden():
    """Tokens of BERT-large: 24 × (12.58 M a token + 2 × 1024 × keys), and two answers a token."""
    for tokens in (1, 177, 384):
        macs = 24 * (tokens * 12 * 1024**2 + 2 * tokens**2 * 1024) + tokens * 2048
        assert load(f"bert_large:sequence={tokens}").macs == macs
    small = load("bert_large: layers=12, width=768, three=2304, heads=12, wide=3072")
    assert small.weight_count == 109_482_240 - 590_592 + 1_538  # BERT-base without its pooler, with the two answers


def test_one_token_reads_all_keys():
    one = load("gpt2_large:sequence=1,keys=500")
    scores = [x for x in one.layers if x.operator == "matmul"]
    assert len(scores) == 2 * 36
    assert {(x.m, x.n, x.k, x.groups) for x in scores} == {(1, 500, 64, 20), (1, 64, 500, 20)}
    assert scores[0].inputs == 20 * (64 + 500 * 64) + 500  # queries, keys and the mask
    assert one.macs == 36 * (12 * 1280**2 + 2 * 500 * 1280) + 50257 * 1280
    assert one.weight_count == load("gpt2_large").weight_count


def test_kernels_of_a_transformer_in_both_modes():
    """A layer of BERT: three products for queries, keys and values are one, softmax and sums are part of products."""
    eager = load("bert_large:layers=1,sequence=8", mode="eager")
    assert [x.operator for x in eager.layers] == [
        "embedding", "embedding", "add", "add", "norm",
        "dense", "dense", "dense", "copy", "copy", "copy", "matmul", "scale", "add", "softmax", "matmul", "copy",
        "dense", "add", "norm", "dense", "activation", "dense", "add", "norm",
        "dense",
    ]  # fmt: skip
    work = load("bert_large:layers=1,sequence=8")
    assert [x.operator for x in work.layers] == [
        "embedding", "embedding", "norm", "dense", "matmul", "matmul", "dense", "norm", "dense", "dense", "norm",
        "dense",
    ]  # fmt: skip
    joint = next(x for x in work.layers if x.operator == "dense")
    assert (joint.m, joint.n, joint.k, joint.inputs) == (8, 3072, 1024, 8 * 1024)


def test_recurrent_layer_by_hand():
    """128 units, 784 pixels: gates of the pixels at once, of the state step by step, two biases."""
    enter, recurrent, out, softmax = load("lstm_smnist").layers
    assert (enter.m, enter.n, enter.k, enter.steps) == (784, 512, 1, 1)
    assert (recurrent.m, recurrent.n, recurrent.k, recurrent.steps) == (1, 512, 128, 784)
    assert enter.weight_count + recurrent.weight_count == 512 * 129 + 2 * 512
    assert (out.m, out.n, out.k, softmax.outputs) == (1, 10, 128, 10)
    # The state and the gates of the pixels come in, state and output go out.
    assert (recurrent.inputs, recurrent.outputs) == (784 * (128 + 512 + 128), 784 * 256)


def test_product_by_hand():
    (layer,) = load("gemm:64x12288x4096").layers
    assert (layer.m, layer.n, layer.k, layer.weight_count, layer.inputs) == (64, 12288, 4096, 12288 * 4096, 64 * 4096)


@given(
    size=st.integers(1, 20), kernel=st.integers(1, 6), stride=st.integers(1, 5),
    pad=st.one_of(st.just("same"), st.just("valid"), st.integers(0, 3)), ceil=st.booleans(),
)  # fmt: skip
def test_windows_against_all_positions(size, kernel, stride, pad, ceil):
    """Windows are laid one after another until they leave the padded map."""
    if pad == "same":
        starts = range(0, size, stride)  # one for every stride that begins inside
        (full,), (count,) = windows((size,), (kernel,), (stride,), pad)
        assert (count, full) == (len(starts), max(size, starts[-1] + kernel))
        return
    side = 0 if pad == "valid" else pad
    assume(side <= kernel // 2)  # a window that lies in the padding alone is no layer's
    padded = size + 2 * side
    if kernel > padded:
        with pytest.raises(ValueError, match=f"kernel of {kernel}"):
            windows((size,), (kernel,), (stride,), pad, ceil)
        return
    # A window follows if it lies inside; with ceil, if the one before it does not reach the end of the padded map.
    inside = [s for s in range(0, padded, stride) if s + kernel <= padded]
    rounded = [s for s in range(0, size + side, stride) if s == 0 or s - stride + kernel < padded]
    assert windows((size,), (kernel,), (stride,), pad, ceil) == ((padded,), (len(rounded if ceil else inside),))


FILE = """
title = "net"
year = 2024
layers = [
  { kind = "conv", name = "a", outputs = "wide", kernel = 3, stride = 2 },
  { kind = "block", block = "twice", repeat = 2, set = { width = 6 } },
  { kind = "concat", with = ["a"] },
  { kind = "flatten" },
  { kind = "linear", outputs = 10 },
]
[parameters]
size = 8
wide = 6
[input]
channels = 3
map = ["size", "size"]
[after]
conv = ["activation"]
[blocks]
twice = [
  { kind = "depthwise", kernel = 3 },
  { kind = "conv", outputs = "width", kernel = 1, then = [] },
  { kind = "add", with = ["start"] },
]
[sources.me]
title = "me"
year = 2024
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "net.toml").write_text(text, encoding="utf-8")
        return str(tmp_path / "net.toml")

    return write


def test_own_file_by_hand(written, tmp_path):
    work = load(written(FILE))
    assert work.macs == 16 * 6 * 27 + 2 * 16 * (6 * 9 + 36) + 16 * 12 * 10
    assert work.weight_count == 6 * 28 + 2 * (6 * 10 + 6 * 7) + 1930
    assert [x.operator for x in work.layers] == ["conv", "depthwise", "conv", "depthwise", "conv", "dense"]
    assert work.layers[2].inputs == 2 * 96  # its own input and the residual
    assert load("net.toml", folder=tmp_path).layers == work.layers
    bigger = load(written(FILE) + ":size=16,wide=6")
    assert bigger.layers[0].m == 4 * work.layers[0].m


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel = 3, stride", "kernal = 3, stride", r"layers.0.conv.kernal"),
        ('kind = "flatten"', 'kind = "flaten"', r"layers.3.*flaten"),
        ('outputs = "wide"', 'outputs = "__import__"', r"layers.0.conv.outputs"),
        ('outputs = "wide"', 'outputs = "broad"', r"layers.0: 'broad' is not there.*wide"),
        ("outputs = 10", "outputs = 0", r"layers.4.linear.outputs"),
        ("outputs = 10", "outputs = 1.5", r"layers.4.linear.outputs"),
        ("outputs = 10", "outputs = true", r"layers.4.linear.outputs"),
        ("outputs = 10", f"outputs = {2 * LARGEST_SIZE}", r"layers.4.linear.outputs"),
        ('with = ["a"]', 'with = ["b"]', r"layers.2: 'b' is not there"),
        ('block = "twice"', 'block = "thrice"', r"layers.1: 'thrice' is not there.*twice"),
        ('"width", kernel = 1', '"width", kernel = [1]', r"blocks.twice.1: 1 size"),
        ('"width", kernel = 1', '"width", kernel = 1, groups = 4', r"blocks.twice.1: 6 input channels.*4 does not"),
        ("kernel = 3 }", 'kernel = 30, pad = "valid" }', r"blocks.twice.0: a kernel of 30"),
        ("set = { width = 6 }", "set = { width = 7 }", r"blocks.twice.2: .*cannot be joined"),
        ('{ kind = "depthwise", kernel = 3 }', '{ kind = "block", block = "twice" }', r"cannot use itself"),
        ("repeat = 2", "repeat = 1000000", r"more than 20000 kernels"),
        ("[sources.me]\ntitle", "[other.me]\ntitle", r"sources: Field required"),
        ("title =", "title", r"not a readable TOML"),
        ('size = 8', 'size = "wide"', r"'wide' is not there"),
    ],
)  # fmt: skip
def test_faults_in_a_file_are_named(written, old, new, message):
    assert old in FILE
    with pytest.raises(BadDescription, match=message):
        load(written(FILE.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet5", "unknown network 'resnet5'.*resnet50"),
        ("resnet50:siz=3", "no size 'siz'.*size"),
        ("resnet50:size", "'size' sets nothing"),
        ("resnet50:size=64,size=32", "size is given twice; leave one"),
        ("resnet50:size=0", "'0' is no size"),
        ("resnet50:size=-3", "'-3' is no size"),
        ("resnet50:size=1e3", "'1e3' is no size"),
        ("resnet50:size=3x3", "2 number"),
        ("gemm:3x4", "2 number.s., not 3"),
        ("gemm:3x4x99999999999", "no size"),
        ("gemm:", "no size"),
        ("nowhere.toml", "no such file"),
        ("nowhere.onnx", "no such file"),
    ],
)
def test_faults_in_a_spec_are_named(spec, message):
    with pytest.raises(BadInput, match=message):
        load(spec, folder=Path("nothing") if "nowhere" in spec else None)


def test_block_without_kernels_is_refused(written):
    text = FILE.replace('repeat = 2, set = { width = 6 }', 'repeat = 2147483648').replace(
        FILE[FILE.index("twice = [") : FILE.index("[sources")], 'twice = [{ kind = "tokens" }]\n'
    )  # fmt: skip
    with pytest.raises(BadDescription, match="makes no kernel"):
        load(written(text))


def test_maps_of_detectors():
    """Published maps of the heads: 50, 25, 13, 7, 3, 3 and 19, 10, 5, 3, 2, 1."""
    for name, sizes in (("ssd_resnet34", [50, 25, 13, 7, 3, 3]), ("ssd_mobilenet_v1", [19, 10, 5, 3, 2, 1])):
        boxes = [x for x in load(name).layers if x.name.startswith("box")]
        assert [x.output_map for x in boxes] == [(s, s) for s in sizes]
    # Boxes of SSD with ResNet-34: 15130; of MobileNet: 1917.
    assert sum(prod(x.output_map) * x.n // 4 for x in boxes) == 1917


def test_files_that_are_not_priced_are_no_unknown_networks(tmp_path):
    (tmp_path / "net.pt2").write_bytes(b"")
    with pytest.raises(BadInput, match=r"net\.pt2: priced are \.onnx files, \.toml files of shapes"):
        load("net.pt2", folder=tmp_path)
