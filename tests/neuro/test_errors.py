"""What messages quote from files of others."""

from neuro.errors import Refusal, printable, unsupported


def test_quotes_are_short_and_harmless_to_a_terminal():
    assert printable("conv 2 \u00e9") == "conv 2 \u00e9"
    assert printable("a\x1b[31mb\nc\0") == r"a\x1b[31mb\nc\x00"
    assert printable("n" * 301) == "n" * 300 + "..."
    assert printable(ValueError("no"), 1) == "n..."


def test_refused_layers_are_quoted():
    error = unsupported("a.onnx", "cannot be read", [Refusal("l\n", "If\x1b", "no\nmore")], "Stop.")
    assert str(error) == "a.onnx: 1 layer cannot be read:\n  If\\x1b 'l\\n': no\\nmore\nStop."


def test_one_layer_has_and_several_have():
    one = Refusal("l", "If", "no")
    assert "a: 1 layer has no form" in str(unsupported("a", "have no form", [one], "Stop."))
    assert "a: 2 layers have no form" in str(unsupported("a", "have no form", [one, one], "Stop."))
