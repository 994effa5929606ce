"""Quantities as text: what they mean, what is refused, and that showing and reading agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.units import parse, show


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("23.6 pJ", "J", 23.6e-12),
        ("1.5 mW", "W", 1.5e-3),
        ("2 GHz", "Hz", 2e9),
        ("0.6 us", "s", 0.6e-6),
        (".6 µs", "s", 0.6e-6),
        ("16 GB", "byte", 16e9),
        ("128 KiB", "byte", 131072),
        ("8 bit", "byte", 1),
        ("1.555 TB/s", "byte/s", 1.555e12),
        ("512", "1", 512),
        ("50 %", "1", 0.5),
        ("1 W*s", "J", 1),
        ("1e-3J", "J", 1e-3),
    ],
)
def test_text_with_a_unit(text, unit, value):
    assert parse(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("23.6", "J", "'23.6' has no unit; write the unit too, as in '1.5 J'"),
        ("23.6 pW", "J", "not a quantity in J"),
        ("3 J", "1", "not a quantity in 1"),
        ("8 byte", "1", "not a quantity in 1"),
        ("2 GHz", "byte/s", "not a quantity in byte/s"),
        ("16 byte/s", "Hz", "not a quantity in Hz"),
        ("50 %", "byte", "not a quantity in byte"),
        ("3 blorps", "J", "cannot be read as a quantity in J: 'blorps'"),
        *((text, "J", "cannot be read") for text in ("", "J", "1,5 J", "1 J +", "(1 J", "nan J", "1 J ** 9", "3 mJ 4")),
        ("many", "1", "write it as '1.5'"),
    ],
)
def test_refusal(text, unit, message):
    with pytest.raises(ValueError, match=message):
        parse(text, unit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.36e-11, "J", "23.6 pJ"),
        (999.6, "J", "1 kJ"),
        (0.0009996, "s", "1 ms"),
        (1.0, "W", "1 W"),
        (0.0, "J", "0 J"),
        (-4.56e-6, "J", "-4.56 µJ"),
        (float("inf"), "s", "inf s"),
        (float("nan"), "s", "nan s"),
        (1e-30, "J", "1e-12 aJ"),
        (123456.0, "1", "1.235e+05"),
        (0.25, "1", "0.25"),
    ],
)
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
