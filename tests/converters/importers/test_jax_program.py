"""Calls written out, constants found, softmax found by execution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from converters.importers.chain import Refused
from converters.importers.jax_nodes import Traced
from converters.importers.jax_program import execute, live, precise, softmax_tail, traced
from converters.importers.pointwise import View


def known(program, run=execute) -> dict:
    values = dict(program.constants)
    for e in program.equations:
        if all(n in values for n in e.inputs):
            values |= dict(zip((n for n, _ in e.outputs), run(e, [values[n] for n in e.inputs]), strict=True))
    return values


def test_calls_are_written_out():
    program = traced(jax.jit(lambda x: jax.checkpoint(jax.nn.relu)(x) + 1), (3,), "net")
    assert [e.name for e in program.equations] == ["max", "add"]
    assert program.shapes[program.output] == (1, 3)


def test_what_reaches_no_output_is_left_out():
    def function(x):
        jnp.sin(x)
        return x + 1

    program = traced(function, (3,), "net")
    assert [e.name for e in program.equations] == ["add"]
    assert live(program.equations, program.output, program.output) == []


def test_constants_are_executed():
    program = traced(lambda x: x * jnp.sqrt(jnp.arange(3.0) ** 2 + 1)[None], (3,), "net")
    values = known(program)
    assert any(np.allclose(v, np.sqrt([[1, 2, 5]])) for v in values.values() if np.shape(v) == (1, 3))
    assert program.output not in values


def test_scopes_are_modules():
    def function(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            return jax.vmap(jnp.tanh)(x)

    (equation,) = traced(function, (3,), "net").equations
    assert equation.scope == "outer/inner"


@pytest.mark.parametrize("function", [jax.nn.softmax, jax.nn.log_softmax, lambda x: jnp.exp(x) / jnp.exp(x).sum()])
def test_the_softmax_at_the_end(function):
    program = traced(lambda x: function(x * 2), (3,), "net")
    start = softmax_tail(program, known(program))
    assert start is not None
    assert [e.name for e in live(program.equations, start)] == ["mul"]


@pytest.mark.parametrize("function", [jnp.exp, lambda x: jax.nn.softmax(x) * 2, lambda x: jnp.exp(x - x.max())])
def test_no_softmax(function):
    program = traced(function, (3,), "net")
    assert softmax_tail(program, known(program)) is None


def test_axes_are_counted_without_the_batch():
    tensor = Traced(View("x", (0, 1), (2, 3)), 1)
    assert [tensor.sample_axis(a) for a in (0, 2)] == [0, 1]
    with pytest.raises(Refused, match="batch"):
        tensor.sample_axis(1)


def test_constants_are_computed_in_double_whatever_the_program_says():
    """1 + 1e-7 is 1 in float32; a loop that is typed in float32 stays in it, and integers stay integers."""

    def function(x):
        w = jnp.ones((1, 3)) + 2.0**-30
        total = lax.while_loop(lambda s: s < 3.0, lambda s: s + 1.0, jnp.float32(0.0))
        return x * w + total + jnp.arange(3)[None].astype(jnp.float32)

    found = [np.asarray(v) for v in known(traced(function, (3,), "net"), precise).values()]
    assert any(v.dtype == np.float64 and (v == 1 + 2.0**-30).all() for v in found)
    assert any(v.dtype == np.float32 and (v == 3).all() for v in found)
    assert any(v.dtype == np.int32 and v.ravel().tolist() == [0, 1, 2] for v in found)
