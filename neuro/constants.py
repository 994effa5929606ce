"""Constants with a range and a source, and the reader of the TOML files that hold them.

A chip or device file is a tree of tables whose leaves are constants such as
``synop = { value = "23.6 pJ", low = "23.6 pJ", high = "35.5 pJ", source = "davies2018", basis = "simulated" }``;
``[sources.davies2018]`` gives title, year and doi. There is no bare number: what is not known is said with a range.
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from math import inf
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from neuro.errors import BadDescription, BadInput, nearest
from neuro.units import parse, show

Basis = Literal["measured", "simulated", "datasheet", "derived", "assumed"]
Boundary = Literal["chip", "board", "system"]
Grade = Literal["same chip", "same family", "undisclosed"]
Year = Annotated[int, Field(ge=1980, le=2100)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Table(BaseModel):
    """A table of a description: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Constant(Table):
    """One number of a cost: SI value, the 5-95 % range of what is believed of it, source and basis.

    `shared` names a piece of physics that several files draw on (one draw serves them all).
    """

    unit: ClassVar[str] = "1"

    value: float
    low: float
    high: float
    source: str
    basis: Basis
    note: str = ""
    shared: str = ""

    @model_validator(mode="before")
    @classmethod
    def _range_defaults_to_value(cls, entry):
        if not isinstance(entry, dict):
            text = "…" if cls.unit == "1" else f"… {cls.unit}"
            raise ValueError(f'a bare value {entry!r}; write {{ value = "{text}", source = …, basis = … }}')
        if "value" in entry:
            entry = {"low": entry["value"], "high": entry["value"], **entry}
        return entry

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _with_unit(cls, text):
        if not isinstance(text, str):
            how = "a string, as in '1'" if cls.unit == "1" else f"a string with the unit, as in '1 {cls.unit}'"
            raise ValueError(f"a bare number {text!r}; write {how}")
        number = parse(text, cls.unit)
        if not 0 < number < float("inf"):
            raise ValueError(f"{text!r} must be above zero and finite; leave out what does not exist")
        return number

    @model_validator(mode="after")
    def _ordered(self):
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value:g} lies outside low..high = {self.low:g}..{self.high:g}")
        if self.basis == "assumed" and self.low == self.high:
            raise ValueError("an assumed constant needs a range: give low and high")
        return self

    def __str__(self) -> str:
        span = "" if self.low == self.high else f" [{show(self.low, self.unit)} .. {show(self.high, self.unit)}]"
        return f"{show(self.value, self.unit)}{span} ({self.basis}, {self.source})"


class Number(Constant):
    """Dimensionless: counts, bits, shares."""


class Joules(Constant):
    """Energy."""

    unit: ClassVar[str] = "J"


class Seconds(Constant):
    """Time."""

    unit: ClassVar[str] = "s"


class Watts(Constant):
    """Power."""

    unit: ClassVar[str] = "W"


class Hertz(Constant):
    """Rate of a clock or of operations."""

    unit: ClassVar[str] = "Hz"


class Bytes(Constant):
    """Memory."""

    unit: ClassVar[str] = "byte"


class BytesPerSecond(Constant):
    """Bandwidth."""

    unit: ClassVar[str] = "byte/s"


class Source(Table):
    """Where a figure was read."""

    title: str
    year: Year
    doi: str = ""
    url: str = ""


class Power(Table):
    """Power while the machine works and while it waits for the next sample, at one boundary."""

    active: Watts
    idle: Watts


class Evidence(Table):
    """How far the model of a machine has been held against silicon, for energy and for latency."""

    energy: Grade
    latency: Grade


class Cited(Table):
    """A file whose constants name their sources."""

    sources: dict[str, Source]


class Description(Cited):
    """What every chip and device file begins with.

    deployment: the class in which machines are ranked: milliwatt (< 100 mW), edge (< 30 W) or data centre.
    power: one entry per boundary at which the machine can be priced; what a boundary takes in is in the notes.
    """

    name: Name
    title: str
    year: Year
    process: str
    deployment: Literal["milliwatt", "edge", "data centre"]
    evidence: Evidence
    power: Annotated[dict[Boundary, Power], Field(min_length=1)]


def power_faults(powers: Mapping[Boundary, Power]) -> Iterator[str]:
    """What cannot be of the powers: more at rest than at work, or less than of a boundary inside."""
    active = idle = 0.0
    for boundary in get_args(Boundary):
        if (power := powers.get(boundary)) is None:
            continue
        if power.idle.value > power.active.value:
            yield f"power.{boundary}: idle is above active"
        if power.active.value < active or power.idle.value < idle:
            yield f"power.{boundary}: below that of a boundary inside it"
        active, idle = power.active.value, power.idle.value


D = TypeVar("D", bound=Cited)


def leaves(table: BaseModel, path: str = "") -> Iterator[tuple[str, Constant]]:
    """Every constant below `table` with its dotted key path, in file order."""
    for key in type(table).model_fields:
        yield from _leaves(getattr(table, key), f"{path}{key}")


def _leaves(item, path: str) -> Iterator[tuple[str, Constant]]:
    if isinstance(item, Constant):
        yield path, item
    elif isinstance(item, BaseModel):
        yield from leaves(item, f"{path}.")
    elif isinstance(item, dict):
        for key, value in item.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(item, list):
        for i, value in enumerate(item):
            yield from _leaves(value, f"{path}.{i}")


def adjusted(description: D, values: Mapping[str, float]) -> D:
    """`description` with other values (SI) of some constants, by dotted path; their ranges become these values.

    Raises:
        BadInput: no such constant.
    """
    paths = [path for path, _ in leaves(description)]
    for path, value in values.items():
        if not 0 < value < inf:
            raise BadInput(f"{path} = {value:g}: a constant must be above zero and finite.")
        if path not in paths:
            name = getattr(description, "name", "the file")
            raise BadInput(f"{name} has no constant {path!r}.{nearest(path, paths)}")
        description = _replaced(description, path.split("."), value)
    return description


def _replaced(table: Any, path: list[str], value: float) -> Any:
    if not path:
        return table.model_copy(update={"value": value, "low": value, "high": value})
    key, *below = path
    if isinstance(table, dict):
        return table | {key: _replaced(table[key], below, value)}
    if isinstance(table, list):
        return [_replaced(item, below, value) if str(i) == key else item for i, item in enumerate(table)]
    return table.model_copy(update={key: _replaced(getattr(table, key), below, value)})


def parsed(path: Path) -> dict[str, Any]:
    """The tables of the TOML file `path`.

    Raises:
        BadInput: no such file. BadDescription: not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadDescription(f"{path}: not a readable TOML file: {error}.") from None
    except RecursionError:
        raise BadDescription(f"{path}: not a readable TOML file: brackets nested too deep.") from None


def read(path: Path, model: type[D], tree: dict[str, Any] | None = None) -> D:
    """The description in the TOML file `path`, or in `tree` if the caller has completed what the file says.

    Raises:
        BadDescription: naming the file and the key path of every fault.
    """
    tree = parsed(path) if tree is None else tree
    try:
        description = model.model_validate(tree)
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc'])) or '(file)'}: {_plain(e)}" for e in error.errors()]
        raise BadDescription(f"{path}: {len(faults)} fault(s)\n" + "\n".join(faults)) from None
    undeclared = [
        f"  {key}.source: {constant.source!r} is not declared under [sources]"
        for key, constant in leaves(description)
        if constant.source not in description.sources
    ]
    if undeclared:
        raise BadDescription(f"{path}: {len(undeclared)} fault(s)\n" + "\n".join(undeclared))
    return description


def _plain(error) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "missing"
    return error["msg"].removeprefix("Value error, ")


def bundled(package: str) -> list[str]:
    """Names of the description files shipped in `package` (dotted)."""
    return sorted(f.name.removesuffix(".toml") for f in resources.files(package).iterdir() if f.name.endswith(".toml"))


def locate(name: str, package: str, what: str) -> Path:
    """The file that `name` means: a bundled name, or a path ending in ``.toml``.

    Raises:
        BadInput: neither; the known names are listed and the nearest suggested.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = bundled(package)
    if name not in known:
        raise BadInput(f"unknown {what} {name!r}.{nearest(name, known)} A path to a .toml file works too.")
    return Path(str(resources.files(package) / f"{name}.toml"))
