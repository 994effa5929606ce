"""Activation options as the file writes them; what they compute is compared with Keras in `test_from_keras`."""

import pytest

from converters.importers.keras_functions import named, of_layer
from converters.importers.onnx_call import Refused
from neuro.activations import Function
from neuro.layers import Activation, Relu, Softmax


def test_names():
    assert named(None, 3) is None
    assert named("linear", 3) is None
    assert named("relu", 3) == Relu()
    assert named("softmax", 3) == Softmax()
    assert named("relu6", 3) == Activation(Function("clip", (0.0, 6.0)))


def test_hard_sigmoid_by_version():
    assert named("hard_sigmoid", 2) == Activation(Function("hard_sigmoid", (0.2, 0.5)))
    assert named("hard_sigmoid", 3) == Activation(Function("hard_sigmoid", (1 / 6, 0.5)))


def test_descriptions():
    own = {"module": "keras.layers", "class_name": "LeakyReLU", "config": {"negative_slope": 0.1}}
    assert named(own, 3) == Activation(Function("leaky_relu", (0.1,)))
    function = {"module": "builtins", "class_name": "function", "config": "tanh", "registered_name": "function"}
    assert named(function, 2) == Activation(Function("tanh"))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("exponential", "'exponential' is not known"),
        (7, "'7' is not known"),
        ({"value": ["code", None, None]}, "never run"),
        ({"module": "mine", "class_name": "function", "config": "relu"}, "never run"),
        ({"module": "keras", "class_name": "function", "config": "mine"}, "'mine' is not known"),
        ({"class_name": "Dense", "config": {}}, "'Dense' is not known"),
        ({}, "not known"),
    ],
)
def test_what_is_refused(spec, text):
    with pytest.raises(Refused, match=text):
        named(spec, 3)


def test_layers_with_options():
    assert of_layer("ReLU", {"max_value": 4, "negative_slope": 0.0}) == Activation(Function("clip", (0.0, 4.0)))
    assert of_layer("ReLU", {"max_value": None}) == Relu()
    assert of_layer("ReLU", {"negative_slope": 0.5}) == Activation(Function("leaky_relu", (0.5,)))
    assert of_layer("LeakyReLU", {"alpha": {"type": "ndarray", "value": 0.25}}) == Activation(
        Function("leaky_relu", (0.25,))
    )
    assert of_layer("LeakyReLU", {}) == Activation(Function("leaky_relu", (0.3,)))
    assert of_layer("ELU", {"alpha": 2.0}) == Activation(Function("elu", (2.0,)))
    assert of_layer("Softmax", {"axis": -1}) == Softmax()
    with pytest.raises(Refused, match="axis 1"):
        of_layer("Softmax", {"axis": 1})
    with pytest.raises(Refused, match="together"):
        of_layer("ReLU", {"threshold": 0.5})
    with pytest.raises(Refused, match="out of range"):
        of_layer("ELU", {"alpha": -1.0})
    with pytest.raises(ValueError, match="is no number"):
        of_layer("ELU", {"alpha": "much"})
