"""Labelled arrays of a record: every one has a unit and says what it is."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr


def array(dims: str | tuple[str, ...], values: Any, units: str, long_name: str) -> xr.Variable:
    """`values` along `dims`, with what every array on disk must say of itself."""
    return xr.Variable(dims, np.asarray(values), {"units": units, "long_name": long_name})


def labelled(dim: str, **columns: tuple[Iterable, str]) -> xr.Dataset:
    """Columns of text or plain numbers along `dim`; one called `dim` becomes its coordinate."""
    arrays = {name: array(dim, values, "1", what) for name, (values, what) in columns.items()}
    coords = {dim: arrays.pop(dim)} if dim in arrays else {}
    return xr.Dataset(arrays, coords)


def whole(values: np.ndarray) -> np.ndarray:
    """As int64 where every value is an integer."""
    rounded = np.rint(values)
    return rounded.astype(np.int64) if np.array_equal(rounded, values) else np.asarray(values, np.float64)


def number(value: float | None) -> float:
    """`value`, NaN where there is none."""
    return float("nan") if value is None else value
