"""How long work tells what it is doing, without knowing who listens."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int], Callable[[int], None]]
"""Told the name of a stage and its number of parts as it begins; the result is called as parts end."""


def silent(stage: str, parts: int) -> Callable[[int], None]:
    """A `Progress` that says nothing."""
    return lambda done: None
