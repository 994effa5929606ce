"""A traced JAX function as a flat list of primitives, and what of it does not depend on the input."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.importers.recurrent import LIMIT
from neuro.errors import BadInput
from neuro.layers import Shape

CALLS = (
    "jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr",
)  # fmt: skip
"""Primitives that only call what is in them."""
RANDOM = (
    "random_bits",
    "random_wrap",
    "random_seed",
    "random_fold_in",
    "random_split",
    "threefry2x32",
    "rng_bit_generator",
)
"""Primitives that make random numbers; keys that are only handed on are not read."""


@dataclass(frozen=True, eq=False)
class Equation:
    """One use of a primitive. inputs: numbers of values; outputs: numbers and shapes; scope: of the module it is in."""

    primitive: Any
    params: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, Shape], ...]
    scope: str
    whole: bool = False

    @property
    def name(self) -> str:
        """The primitive's name."""
        return str(self.primitive.name)


@dataclass(frozen=True, eq=False)
class Program:
    """Equations in order, all that the output depends on; constants by their numbers, the input's and the output's.

    whole, of an equation: its result is integers.
    """

    input: int
    output: int
    equations: list[Equation]
    constants: dict[int, Any]
    shapes: dict[int, Shape]


@dataclass
class _Flattening:
    """Numbers given out so far; local to one call of `traced`."""

    equations: list[Equation] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    shapes: dict[int, Shape] = field(default_factory=dict)

    def number(self, shape: Shape) -> int:
        self.shapes[len(self.shapes)] = tuple(shape)
        return len(self.shapes) - 1

    def constant(self, value: Any) -> int:
        number = self.number(np.shape(value))
        self.constants[number] = value
        return number

    def add(self, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[int], scope: str) -> list[int]:
        """The equations of `jaxpr`, calls written out; the numbers of its results."""
        from jax.extend.core import Literal

        numbers = dict(zip(jaxpr.invars, arguments, strict=True))
        numbers |= {var: self.constant(value) for var, value in zip(jaxpr.constvars, consts, strict=True)}

        def of(atom: Any) -> int:
            return self.constant(atom.val) if isinstance(atom, Literal) else numbers[atom]

        for eqn in jaxpr.eqns:
            inner = str(eqn.source_info.name_stack)
            where = "/".join(part for part in (scope, _module(inner)) if part)
            given = [of(atom) for atom in eqn.invars]
            body = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
            if eqn.primitive.name in CALLS and body is not None:
                closed = hasattr(body, "consts")
                results = self.add(body.jaxpr if closed else body, body.consts if closed else (), given, where)
            elif eqn.primitive.name == "scan" and eqn.params["length"] <= LIMIT:
                results = self.scan(eqn.params, given, where)
            else:
                results = [self.number(v.aval.shape) for v in eqn.outvars]
                outputs = tuple((n, self.shapes[n]) for n in results)
                kind = getattr(eqn.outvars[0].aval, "dtype", None)
                whole = isinstance(kind, np.dtype) and kind.kind in "iu"
                self.equations.append(Equation(eqn.primitive, eqn.params, tuple(given), outputs, where, whole))
            numbers |= dict(zip(eqn.outvars, results, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def scan(self, params: dict[str, Any], given: list[int], scope: str) -> list[int]:
        """The equations of a scan, step after step, what it scans cut into its steps; the numbers of its results."""
        from jax import lax

        constants, carries, length = params["num_consts"], params["num_carry"], params["length"]
        body, carry, scanned = params["jaxpr"], given[constants : constants + carries], given[constants + carries :]
        each: list[list[int]] = [[] for _ in range(length)]
        for t in reversed(range(length)) if params["reverse"] else range(length):
            here = []
            for number in scanned:
                rest = self.shapes[number][1:]
                corners = {"start_indices": (t, *(0 for _ in rest)), "limit_indices": (t + 1, *rest)}
                cut = self.apply(lax.slice_p, {**corners, "strides": None}, [number], (1, *rest), scope)
                here.append(self.apply(lax.squeeze_p, {"dimensions": (0,)}, [cut], rest, scope))
            inner = f"{scope}/{t}" if scope else str(t)
            results = self.add(body.jaxpr, body.consts, [*given[:constants], *carry, *here], inner)
            carry, each[t] = results[:carries], results[carries:]
        stacked = []
        for steps in zip(*each, strict=True):
            shape = self.shapes[steps[0]]
            options = {"shape": (1, *shape), "broadcast_dimensions": tuple(range(1, len(shape) + 1)), "sharding": None}
            lines = [self.apply(lax.broadcast_in_dim_p, options, [step], (1, *shape), scope) for step in steps]
            stacked.append(self.apply(lax.concatenate_p, {"dimension": 0}, lines, (length, *shape), scope))
        return [*carry, *stacked]

    def apply(self, primitive: Any, params: dict[str, Any], given: list[int], shape: Shape, scope: str) -> int:
        """One more equation, of floats; the number of its result."""
        number = self.number(shape)
        self.equations.append(Equation(primitive, params, tuple(given), ((number, tuple(shape)),), scope))
        return number


def _module(stack: str) -> str:
    """The path of a module without the transformations on the way: ``Net/Conv_0`` from ``vmap(Net)/Conv_0``."""
    while (bare := re.sub(r"\w+\(([^()]*)\)", r"\1", stack)) != stack:
        stack = bare
    return "/".join(part for part in stack.split("/") if part)


def traced(function: Callable[[Any], Any], shape: Shape, name: str, whole: bool = False) -> Program:
    """The program of a function for a batch of one sample of `shape`.

    whole: the input is int32, as an embedding's.

    Raises:
        BadInput: JAX cannot trace it, or it gives more than one array.
    """
    import jax

    example = jax.ShapeDtypeStruct((1, *shape), np.int32 if whole else np.float32)
    try:
        closed = jax.make_jaxpr(function)(example)
    except Exception as error:  # whatever the function itself raises
        first = str(error).strip().split("\n")[0]
        raise BadInput(
            f"{name}: jax.make_jaxpr fails for an input of {[1, *shape]} ({type(error).__name__}: {first}); "
            "make the function run on such an array, and bind parameters and other arguments beforehand."
        ) from None
    if len(closed.jaxpr.outvars) != 1:
        raise BadInput(
            f"{name} gives {len(closed.jaxpr.outvars)} arrays; exactly one is needed. Wrap it in a function that "
            "returns the one to classify by."
        )
    flat = _Flattening()
    entry = flat.number((1, *shape))
    (output,) = flat.add(closed.jaxpr, closed.consts, [entry], "")
    return Program(entry, output, live(flat.equations, output), flat.constants, flat.shapes)


def live(equations: list[Equation], output: int, without: int = -1) -> list[Equation]:
    """The equations that `output` depends on otherwise than through `without`."""
    needed, kept = {output} - {without}, []
    for equation in reversed(equations):
        if needed.intersection(n for n, _ in equation.outputs):
            kept.append(equation)
            needed.update(n for n in equation.inputs if n != without)
    return kept[::-1]


def execute(equation: Equation, given: Sequence[Any]) -> list[Any]:
    """The results of one equation on arrays."""
    bound = equation.primitive.get_bind_params(equation.params)
    subfunctions, params = bound if isinstance(bound, tuple) else ((), bound)  # a pair in older versions of JAX
    results = equation.primitive.bind(*subfunctions, *given, **params)
    return list(results) if equation.primitive.multiple_results else [results]


def precise(equation: Equation, given: Sequence[Any]) -> list[Any]:
    """The results of one equation on constants, float32 computed as float64.

    The constants of a batch norm are part of a traced program, which rounds them at every step; other importers
    compute them in double, and a half must be rounded the same way by all. What cannot be computed so, a loop typed in
    float32 for one, is computed as it stands.
    """
    import jax

    params = {k: np.dtype(np.float64) if _single(v) else v for k, v in equation.params.items()}
    double = Equation(equation.primitive, params, equation.inputs, equation.outputs, equation.scope, equation.whole)
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.float64) if _single(getattr(x, "dtype", None)) else x for x in given]
        try:
            results = execute(double, wide)
        except (TypeError, ValueError):
            results = []
    shapes = [shape for _, shape in equation.outputs]
    return results if [np.shape(r) for r in results] == shapes else execute(equation, given)


def _single(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and kind == np.float32


def softmax_tail(program: Program, known: dict[int, Any]) -> int | None:
    """The value of which the output is the softmax over a flat sample, or its logarithm; None if it is neither.

    known: the constants. Found by execution: the rest of the program is applied to random numbers.
    """
    found = [e for e in reversed(program.equations) if e.name in ("reduce_max", "exp")]
    for equation in sorted(
        found, key=lambda e: e.name, reverse=True
    ):  # the largest is subtracted before the exponential
        start = equation.inputs[0]
        shape = program.shapes[start]
        if start in known or max(shape, default=1) == 1 or sum(n != 1 for n in shape) != 1:
            continue
        if program.shapes[program.output] != shape:
            continue
        tail = live(program.equations, program.output, start)
        made = {n for e in tail for n, _ in e.outputs} | {start} | known.keys()
        if all(n in made for e in tail for n in e.inputs) and _is_softmax(program, known, tail, start):
            return start
    return None


def _is_softmax(program: Program, known: dict[int, Any], tail: list[Equation], start: int) -> bool:
    import jax
    import jax.numpy as jnp

    x = np.random.default_rng(0).normal(size=program.shapes[start]).astype(np.float32) * 3
    values = {**known, start: jnp.asarray(x)}
    try:
        for equation in tail:
            results = execute(equation, [values[n] for n in equation.inputs])
            values |= dict(zip((n for n, _ in equation.outputs), results, strict=True))
        y = np.asarray(values[program.output]).ravel()
    except Exception:  # a primitive that cannot be executed by itself is no part of a softmax
        return False
    wanted = np.asarray(jax.nn.softmax(x.ravel().astype(np.float32)))
    return bool(np.allclose(y, wanted, atol=1e-5) or np.allclose(y, np.log(wanted), atol=1e-4))
