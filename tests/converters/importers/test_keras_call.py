"""Options are checked for their types, and weights are found by place or by name."""

import numpy as np
import pytest

from converters.importers.keras_call import Layer, Place, custom
from converters.importers.keras_file import Source
from converters.importers.keras_layers import check
from converters.importers.onnx_call import Refused
from neuro.errors import BadInput


def layer(config: dict | None = None, store: dict | None = None, native: bool = False, outer: str = "a") -> Layer:
    source = Source("net.h5", {}, 2, store or {}, "", native)
    return Layer("Dense", "a", config or {}, "keras.layers", source, Place("layers/dense", outer, "a"))


def test_options():
    given = layer({"n": 3, "f": 0.5, "b": True, "t": "same", "p": [1, 2], "a": {"type": "ndarray", "value": 0.3}})
    assert (given.whole("n", 0), given.whole("none", 7)) == (3, 7)
    assert (given.number("f", 0.0), given.number("a", 0.0)) == (0.5, 0.3)
    assert given.flag("b", False)
    assert given.text("t", "") == "same"
    assert given.wholes("p", 2) == (1, 2)
    assert given.wholes("n", 2) == (3, 3)
    assert given.wholes("p", None) == (1, 2)
    assert given.numbers("none") is None
    assert (layer({}).channels(), layer({"data_format": "channels_first"}).channels()) == (-1, 0)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("whole", (0,)), ("number", (0.0,)), ("flag", (True,)), ("text", ("",)), ("wholes", (2,)), ("wholes", (None,))],
)
@pytest.mark.parametrize("value", [None, {"x": 1}, [1.5], [True, 1], float("nan")])
def test_options_of_other_types(method, arguments, value):
    with pytest.raises(ValueError, match="k "):
        getattr(layer({"k": value}), method)("k", *arguments)


def stored(*names: str, dtype: str = "f4") -> dict:
    return {n: {"kind": "array", "values": np.full(2, i, dtype)} for i, n in enumerate(names)}


def test_weights_by_place():
    native = stored("layers/dense/vars/0", "layers/dense/vars/1")
    kernel, bias = layer(store=native, native=True).weights("kernel", "bias")
    assert (kernel[0], bias[0]) == (0, 1)
    with pytest.raises(BadInput, match="needs the weights kernel, but 2 are stored"):
        layer(store=native, native=True).weights("kernel")
    with pytest.raises(BadInput, match="needs the weights kernel, bias, count, but 2 are stored"):
        layer(store=native, native=True).weights("kernel", "bias", "count")
    with pytest.raises(Refused, match="quantised"):
        layer(store=stored("layers/dense/vars/0", dtype="i1"), native=True).weights("kernel")


def test_weights_by_order_and_of_inner_networks_by_name():
    own = {"a": {"kind": "group", "weight_names": ["a_7/kernel:0", "a_7/bias:0"]}}
    kernel, bias = layer(store={**own, **stored("a/a_7/kernel:0", "a/a_7/bias:0")}).weights("kernel", "bias")
    assert (kernel[0], bias[0]) == (0, 1)
    names = ["b/kernel:0", "a/beta:0", "a/gamma:0", "a/depthwise_kernel:0"]
    inner = {"outer": {"kind": "group", "weight_names": names}, **stored(*(f"outer/{n}" for n in names))}
    found = layer(store=inner, outer="outer").weights("gamma", "beta", "kernel")
    assert [a[0] for a in found] == [2, 1, 3]


def test_custom_classes():
    assert not custom(None, None)
    assert not custom("keras.src.models.functional", "Functional")
    assert custom("__main__", None)
    assert custom("keras.layers", "mine>Dense")
    assert custom(7, None)


def test_unknown_layers_are_refused_before_their_inputs():
    check(layer())
    source = layer().source
    for kind, text in (("Lambda", "never run"), ("ConvLSTM2D", "no layer")):
        with pytest.raises(Refused, match=text):
            check(Layer(kind, "a", {}, "keras.layers", source, Place("", "a", "a")))
