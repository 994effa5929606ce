"""The file format of networks that are known by their layer shapes: what each layer may say.

Layers stand in order; each works on the result of the one before it, or of the one named by ``from``. Sizes are
integers or names of ``[parameters]``; output maps are computed. ``[blocks]`` are lists of layers that are used several
times, with their own sizes (``set``); within a block ``start`` names what enters it.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from neuro.constants import Source, Table

LARGEST_SIZE = 2**31

Count: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=LARGEST_SIZE)]
Size: TypeAlias = Count | Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Sizes: TypeAlias = Size | list[Size]
Padding: TypeAlias = Literal["same", "valid"] | Annotated[int, Field(strict=True, ge=0, le=LARGEST_SIZE)]
Epilogue: TypeAlias = tuple[Literal["norm", "activation", "scale"], ...]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Layer(Table):
    """What every layer may have. name: for ``from`` and ``with``. source (``from``): whose result enters."""

    name: str | None = None
    source: str | None = Field(None, alias="from")


class Windowed(Layer):
    """kernel, stride: one for all axes or one each. pad: ``same`` as TensorFlow, ``valid``, or values on each side."""

    kernel: Sizes
    stride: Sizes = 1
    pad: Padding = "same"


class Weighted(Layer):
    """then: kernels behind it that a compiler fuses (default: ``[after]``). zeros: share of zeros among its inputs.
    shared: an earlier layer holds the same weights."""

    bias: bool = True
    then: Epilogue | None = None
    zeros: Share = 0.0
    shared: bool = False


class Conv(Windowed, Weighted):
    """Convolution; batch norm is folded, its shift is the bias."""

    kind: Literal["conv"]
    outputs: Size
    groups: Size = 1


class Depthwise(Windowed, Weighted):
    """One filter per channel."""

    kind: Literal["depthwise"]


class Linear(Weighted):
    """Matrix product at every position. split: a framework computes it as that many products."""

    kind: Literal["linear"]
    outputs: Size
    split: Size = 1


class Attention(Layer):
    """softmax(Q Kᵀ) V on queries, keys and values side by side (3 × width channels). keys: positions attended to,
    cached ones included (default: those that enter). masked: a mask is added. All scores are computed, also those
    that a causal mask discards, as published counts of multiply-accumulates do."""

    kind: Literal["attention"]
    heads: Size
    keys: Size | None = None
    masked: bool = False


class Cell(Layer):
    """Recurrent layer over all positions. last: only the last output goes on."""

    kind: Literal["lstm", "gru"]
    outputs: Size
    last: bool = False


class Embedding(Layer):
    """Rows of a table of `entries`; tied: a later layer holds the table."""

    kind: Literal["embedding"]
    entries: Size
    outputs: Size
    tied: bool = False


class Positions(Layer):
    """A learned table added to every position."""

    kind: Literal["positions"]
    entries: Size


class Pool(Windowed):
    """Pooling. ceil: a last window that is cut off counts."""

    kind: Literal["pool"]
    pad: Padding = "valid"
    ceil: bool = False


class Pointwise(Layer):
    """Values in, as many out. passes: kernels that a framework launches for it. weights: per channel."""

    kind: Literal["activation", "norm", "scale", "softmax", "copy"]
    passes: Size = 1
    weights: Annotated[int, Field(strict=True, ge=0, le=16)] | None = None
    fusable: bool | None = None


class Join(Layer):
    """Sum, product or concatenation of what enters with the results named by ``with``."""

    kind: Literal["add", "multiply", "concat"]
    others: Annotated[list[str], Field(alias="with", min_length=1)]


class Reshape(Layer):
    """Without cost. flatten: one position. tokens: the map becomes a sequence, with `extra` positions before it.
    global pool: the mean of every channel."""

    kind: Literal["flatten", "tokens", "global pool"]
    extra: Size | None = None


class Upsample(Layer):
    """The map enlarged to `map`."""

    kind: Literal["upsample"]
    map: list[Size]


class Enter(Layer):
    """New values from outside: channels and the map of positions."""

    kind: Literal["input"] = "input"
    channels: Size
    map: tuple[Size, ...] = ()


class Use(Layer):
    """A block, `repeat` times one after another; set: sizes that it names."""

    kind: Literal["block"]
    block: str
    set: dict[str, Size] = Field(default_factory=dict)
    repeat: Size = 1


Entry: TypeAlias = Annotated[
    Conv | Depthwise | Linear | Attention | Cell | Embedding | Positions | Pool | Pointwise | Join | Reshape | Upsample
    | Enter | Use, Field(discriminator="kind")
]  # fmt: skip


class After(Table):
    """Kernels behind every layer of a kind that names none itself."""

    conv: Epilogue = ()
    linear: Epilogue = ()


class Network(Table):
    """A file of layers. parameters: default sizes, which a spec can override."""

    title: str
    year: int
    note: str = ""
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    parameters: dict[str, Size] = Field(default_factory=dict)
    input: Enter
    after: After = After()
    blocks: dict[str, list[Entry]] = Field(default_factory=dict)
    layers: Annotated[list[Entry], Field(min_length=1)]
