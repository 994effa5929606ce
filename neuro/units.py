"""Physical quantities at the edge: text with a unit in files, SI floats inside, text again in tables."""

from functools import lru_cache
from math import floor, log10


@lru_cache
def _registry():
    import pint  # about a second to import: only when a description is read

    return pint.UnitRegistry()


def parse(text: str, unit: str) -> float:
    """The value of `text`, such as ``"23.6 pJ"``, in the SI unit `unit` ("1" for plain numbers).

    Raises:
        ValueError: no number, no unit where one is due, or a unit of another dimension.
    """
    import pint

    target = "dimensionless" if unit == "1" else unit
    try:
        quantity = _registry().Quantity(text)
        if unit != "1" and quantity.dimensionless and quantity.units == _registry().dimensionless:
            raise ValueError(f"{text!r} has no unit; write the unit too, as in '1 {unit}'")
        return float(quantity.m_as(target))
    except pint.DimensionalityError:
        raise ValueError(f"{text!r} is not a quantity in {unit}") from None
    except (pint.UndefinedUnitError, pint.errors.DefinitionSyntaxError, AttributeError) as error:
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
