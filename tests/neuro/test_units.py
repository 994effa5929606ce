"""Quantities as text: what they mean, what is refused, and that showing and reading agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.units import parse, show


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("23.6 pJ", "J", 23.6e-12), ("1.5 mW", "W", 1.5e-3), ("2 GHz", "Hz", 2e9), ("0.6 us", "s", 0.6e-6),
        ("0.6 µs", "s", 0.6e-6), ("16 GB", "byte", 16e9), ("128 KiB", "byte", 131072), ("8 bit", "byte", 1),
        ("1.555 TB/s", "byte/s", 1.555e12), ("512", "1", 512), ("0.5", "1", 0.5), ("1 W*s", "J", 1), ("1e-3 J", "J", 1e-3),
    ],
)  # fmt: skip
def test_text_with_a_unit(text, unit, value):
    assert parse(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("23.6", "J", "has no unit"), ("23.6 pW", "J", "not a quantity in J"), ("3 J", "1", "not a quantity in 1"),
        ("3 furlongs per", "J", "cannot be read"), ("3 blorps", "J", "cannot be read"), ("", "J", ""), ("high", "W", ""),
    ],
)  # fmt: skip
def test_refusal(text, unit, message):
    with pytest.raises(ValueError, match=message):
        parse(text, unit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.36e-11, "J", "23.6 pJ"), (999.6, "J", "1 kJ"), (0.0009996, "s", "1 ms"), (1.0, "W", "1 W"), (0, "J", "0 J"),
        (-4.56e-6, "J", "-4.56 µJ"), (float("inf"), "s", "inf s"), (float("nan"), "s", "nan s"), (1e-30, "J", "1e-12 aJ"),
        (123456, "1", "1.235e+05"), (0.25, "1", "0.25"),
    ],
)  # fmt: skip
def test_shown(value, unit, text):
    assert show(value, unit) == text


@given(
    mantissa=st.floats(1, 9.999),
    exponent=st.integers(-17, 14),
    unit=st.sampled_from(["J", "W", "Hz"]),
)
def test_what_is_shown_reads_back_to_three_digits(mantissa, exponent, unit):
    value = mantissa * 10**exponent
    assert parse(show(value, unit), unit) == pytest.approx(value, rel=5.1e-3)


@given(mantissa=st.floats(1, 9.999), exponent=st.integers(-15, 0))
def test_seconds_read_back(mantissa, exponent):
    value = mantissa * 10**exponent
    assert parse(show(value, "s"), "s") == pytest.approx(value, rel=5.1e-3)
