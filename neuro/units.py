"""Physical quantities at the edge: text with a unit in files, SI floats inside, text again in tables."""

import re
from functools import lru_cache
from math import floor, log10


@lru_cache
def _registry():
    import pint  # about a second to import: only when a description is read

    return pint.UnitRegistry()


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_UNIT = r"%|[^\W\d_]+(?:[*/][^\W\d_]+)*"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*({_UNIT}|)\s*")


def parse(text: str, unit: str) -> float:
    """The value of `text`, such as ``"23.6 pJ"``, in the SI unit `unit` ("1" for plain numbers).

    Bits and cycles are units of their own: ``"2 GHz"`` is no bandwidth, ``"8 byte"`` no number.

    Raises:
        ValueError: no number, no unit where one is due, or a unit of another dimension.
    """
    import pint

    parts = _QUANTITY.fullmatch(text)
    example = "1.5" if unit == "1" else f"1.5 {unit}"
    if parts is None:
        raise ValueError(f"{text!r} cannot be read as a quantity in {unit}; write it as {example!r}")
    number, name = parts.groups()
    if unit != "1" and not name:
        raise ValueError(f"{text!r} has no unit; write the unit too, as in {example!r}")
    target = _registry().Quantity(1, "" if unit == "1" else unit)
    try:
        quantity = _registry().Quantity(float(number), name)
        if quantity.to_root_units().units != target.to_root_units().units:
            raise ValueError(f"{text!r} is not a quantity in {unit}")
        return float(quantity.m_as(target.units))
    except pint.PintError as error:
        raise ValueError(f"{text!r} cannot be read as a quantity in {unit}: {error}") from None


_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P",
}  # fmt: skip


def show(value: float, unit: str) -> str:
    """`value` in SI with three significant digits and a prefix: ``show(2.36e-11, "J") == "23.6 pJ"``."""
    if unit == "1":
        return f"{value:.4g}"
    if value == 0 or value != value or abs(value) == float("inf"):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.3g}")
    exponent = min(15, max(-18, 3 * floor(log10(abs(rounded)) / 3)))
    return f"{rounded / 10**exponent:.3g} {_PREFIXES[exponent]}{unit}"
