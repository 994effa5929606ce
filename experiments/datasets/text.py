"""Texts as word ids: the words of a vocabulary, cut or padded to one length."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from pydantic import Field

from experiments.datasets.arrays import DAMAGED, Arrays
from neuro.constants import Table
from neuro.errors import BadInput

LONGEST = 8192
LARGEST_VOCABULARY = 16 * 2**20
LARGEST_ID = 2**24 - 1


class TextRule(Table):
    """How a network reads text: the table [text] of its sidecar.

    vocabulary: a file beside the network, or in a zip archive appended to the network; length: ids of a text; start:
    the word put first, if any; unknown: the word that stands for all others, which without it are left out; pad: the
    id that follows the last word.
    """

    vocabulary: str = Field(min_length=1)
    length: int = Field(ge=1, le=LONGEST)
    start: str | None = None
    unknown: str | None = None
    pad: int = Field(default=0, ge=0, le=LARGEST_ID)


@dataclass(frozen=True, eq=False)
class Texts:
    """A data set before its words have ids: texts x to be tested on, labels y [item], texts to calibrate on."""

    x: Sequence[str]
    y: np.ndarray | None
    x_calibration: Sequence[str]
    description: str


@dataclass(frozen=True, eq=False)
class Encoding:
    """A rule with its vocabulary: ids of words; start, unknown, pad as ids; start and unknown None: there is none."""

    ids: Mapping[str, int]
    length: int
    start: int | None = None
    unknown: int | None = None
    pad: int = 0

    @property
    def largest(self) -> int:
        """The largest id that can occur."""
        return max([self.pad, *self.ids.values()])


def encoding(network: Path, rule: TextRule) -> Encoding:
    """`rule` with the vocabulary that it names, beside or inside the file `network`.

    Raises:
        BadInput: no such vocabulary, a malformed one, or one without the start or unknown word.
    """
    ids = vocabulary(network, rule.vocabulary)
    for key in ("start", "unknown"):
        word = getattr(rule, key)
        if word is not None and word not in ids:
            raise BadInput(f"{network}: the vocabulary {rule.vocabulary!r} has no word {word!r}, which is {key!r}.")
    start, unknown = (None if word is None else ids[word] for word in (rule.start, rule.unknown))
    return Encoding(ids, rule.length, start, unknown, rule.pad)


def vocabulary(network: Path, name: str) -> dict[str, int]:
    """Ids by word, from the file `name` beside `network`, else inside it: one word a line, or a word and its id.

    Without ids a word's id is the number of its line, from 0.

    Raises:
        BadInput: not found, too large, not text, a line that is neither, or a word that comes twice.
    """
    beside = network.parent / name
    where = f"{beside}" if beside.is_file() else f"{network}: {name}"
    try:
        content = _head(beside) if beside.is_file() else _inside(network, name)
        if len(content) > LARGEST_VOCABULARY:
            raise ValueError(f"takes more than {LARGEST_VOCABULARY:,} bytes")
        lines = [line.split() for line in content.decode("utf-8-sig").rstrip().split("\n")]
    except DAMAGED as error:
        raise BadInput(f"{where}: not a readable vocabulary: {error}.") from None
    ids: dict[str, int] = {}
    for number, line in enumerate(lines):
        numbered = len(line) == 2 and line[1].isdecimal() and len(line[1]) <= 8
        if len(line) != len(lines[0]) or not (len(line) == 1 or numbered) or line[0] in ids:
            raise BadInput(
                f"{where}: line {number + 1:,} is {' '.join(line)[:40]!r}; every line must be one new word, or every "
                "line one new word and its id."
            )
        ids[line[0]] = int(line[1]) if numbered else number
    if max(ids.values()) > LARGEST_ID:
        raise BadInput(f"{where}: an id is {max(ids.values()):,}; the limit is {LARGEST_ID:,}.")
    return ids


def words(text: str) -> list[str]:
    """The words of `text` in lower case: runs of letters, digits, underscores and apostrophes."""
    return re.findall(r"[\w']+", text.lower())


def encode(texts: Sequence[str], by: Encoding) -> Int32[np.ndarray, "item position"]:
    """Ids of each text's words after the start id, the first `by.length` of them, padded at the end."""
    ids = np.full((len(texts), by.length), by.pad, np.int32)
    first = [] if by.start is None else [by.start]
    for row, text in zip(ids, texts, strict=True):
        found = (by.ids.get(word, by.unknown) for word in words(text))
        line = (first + [i for i in found if i is not None])[: by.length]
        row[: len(line)] = line
    return ids


def encode_texts(texts: Texts, by: Encoding) -> Arrays:
    """`texts` as arrays of ids [item, position]; a count is an id, whichever words occur."""
    description = f"{texts.description}; {len(by.ids):,} words, {by.length} ids a text"
    x, calibration = encode(texts.x, by), encode(texts.x_calibration, by)
    return Arrays(x, texts.y, calibration, description, largest=by.largest)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_VOCABULARY + 1)


def _inside(network: Path, name: str) -> bytes:
    if not zipfile.is_zipfile(network):
        raise BadInput(f"{network}: no vocabulary {name!r} beside it, and no zip archive in it.")
    with zipfile.ZipFile(network) as archive:
        if name not in archive.namelist():
            held = ", ".join(archive.namelist()[:8])
            raise BadInput(f"{network}: no vocabulary {name!r} beside it or in it; it holds {held}.")
        with archive.open(name) as file:
            return file.read(LARGEST_VOCABULARY + 1)
