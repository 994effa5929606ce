"""What single ONNX nodes give: their values where they are constant, their shapes by ONNX's own inference."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from converters.importers.chain import NotKnown, Refused, Stream, Unknown, Value
from converters.importers.onnx_activations import dequantised, quantised
from neuro.layers import Shape

LIMIT = 2**30
"""Most bytes of all computed constants of a network."""


def is_constant(node: Any, inputs: tuple[Value | None, ...]) -> bool:
    """Whether `node` reads constants only, or asks for the shape of something else.

    Raises:
        NotKnown: it does, but they are not known.
    """
    streams = [i for i in inputs if isinstance(i, Stream)]
    if node.op_type in ("Shape", "Size") and streams:
        if streams[0].shape is None:
            raise NotKnown
        return True
    if not streams and any(isinstance(i, Unknown) for i in inputs):
        raise NotKnown
    return not streams


def folded(node: Any, inputs: tuple[Value | None, ...], opset: int, limit: int = LIMIT) -> dict[str, np.ndarray]:
    """The outputs of a node for which `is_constant` holds, by the reference implementation of its operator.

    A stream stands for its shape with a batch of one; its values are not looked at. limit: most bytes of each.

    Raises:
        Refused: they cannot be computed, or not safely: too large, drawn at random, or given by a loop.
    """
    from onnx.helper import make_empty_tensor_value_info, make_graph
    from onnx.reference import ReferenceEvaluator

    if node.domain:
        return quantised(node, inputs)
    if node.op_type == "DequantizeLinear" and all(isinstance(i, np.ndarray) or i is None for i in inputs):
        return dequantised(node, inputs)  # the evaluator knows no operator set before 19
    random = node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
    if random or any(a.HasField("g") or a.graphs for a in node.attribute):
        raise Refused("a constant that is drawn at random or computed by a subgraph")
    feeds = _feeds(node, inputs)
    outputs = [o for o in node.output if o]
    # as a graph, because the evaluator takes the newest operator set for a bare node
    given, wanted = ([make_empty_tensor_value_info(name) for name in names] for names in (feeds, outputs))
    try:
        for shape in _shapes(node, feeds, opset):
            if shape is None or prod(shape) * 8 > limit:
                raise Refused(
                    f"a constant of shape {shape or 'unknown'}; the limit is {LIMIT // 2**30} GiB for all, of which "
                    f"{limit / 2**30:.3g} are left"
                )
        graph = make_graph([node], "folded", given, wanted)
        results = ReferenceEvaluator(graph, opsets={"": opset}).run(outputs, feeds)
    except Refused:
        raise
    except Exception as error:  # onnx raises whatever NumPy or an operator it does not know raises
        raise Refused(f"a constant that cannot be computed ({type(error).__name__}: {error})") from None
    found = [np.asarray(r) for r in results]
    if any(a.dtype.kind == "c" for a in found):
        raise Refused("a constant of complex numbers")
    return dict(zip(outputs, found, strict=True))


def first_shape(node: Any, inputs: tuple[Value | None, ...], opset: int) -> Shape | None:
    """Shape of the node's first output, its batch axis of one included; None where it cannot be told."""
    if node.domain or any(isinstance(i, Unknown) or (isinstance(i, Stream) and i.shape is None) for i in inputs):
        return None
    try:
        return next(_shapes(node, _feeds(node, inputs), opset), None)
    except Exception:  # onnx has several errors for nodes that it cannot infer, and they have no common base
        return None


def _feeds(node: Any, inputs: tuple[Value | None, ...]) -> dict[str, np.ndarray]:
    """An array for every input; zeros that take no memory for streams."""
    return {name: _array(value) for name, value in zip(node.input, inputs, strict=True) if name and value is not None}


def _array(value: Value) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    shape, batch = ((value.shape or ()), value.batch) if isinstance(value, Stream) else ((), 0)
    return np.broadcast_to(np.float32(0), (*shape[:batch], 1, *shape[batch:]))


def _shapes(node: Any, feeds: dict[str, np.ndarray], opset: int) -> Iterator[Shape | None]:
    """Shape of each output, from the inputs' shapes and the sizes among their values; None where it is open."""
    from onnx.defs import get_schema
    from onnx.helper import make_opsetid, make_tensor_type_proto, np_dtype_to_tensor_dtype
    from onnx.numpy_helper import from_array
    from onnx.shape_inference import infer_node_outputs

    types = {name: make_tensor_type_proto(np_dtype_to_tensor_dtype(a.dtype), a.shape) for name, a in feeds.items()}
    sizes = {name: from_array(a) for name, a in feeds.items() if a.dtype.kind in "iu" and a.size <= 64}
    schema = get_schema(node.op_type, opset, "")
    inferred = infer_node_outputs(schema, node, types, sizes, opset_imports=[make_opsetid("", opset)])
    for result in inferred.values():
        dims = result.tensor_type.shape.dim
        known = result.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        yield tuple(d.dim_value for d in dims) if known else None
