"""Comparing an imported network with ONNX Runtime, layer by layer."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from converters.importers.onnx_file import read
from neuro.evaluate import evaluator
from neuro.graph import Graph


def largest_differences(
    path: str | Path, graph: Graph, tensors: dict[str, str], x: Float[np.ndarray, "batch ..."]
) -> dict[str, float]:
    """For each layer the largest deviation from the ONNX tensor it stands for, over a batch of samples.

    graph, tensors: as `importers.from_onnx.load_named` gives them. The deviation |a - b| is in units of the tensor's
    largest magnitude, or absolute if that is below 1; it is infinite where the shapes differ. ONNX Runtime executes
    the original operators one by one, without optimising the graph, a sample at a time.
    """
    import onnxruntime
    from onnx.helper import make_empty_tensor_value_info, tensor_dtype_to_np_dtype

    source = read(path)
    model = source.model
    declared = {source.input, source.output}
    model.graph.output.extend(make_empty_tensor_value_info(t) for t in sorted({*tensors.values()} - declared))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    given = next(i for i in model.graph.input if i.name == source.input)
    fed = np.asarray(x, tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))
    runs = [session.run(names, {source.input: sample[None]}) for sample in fed]
    theirs = {name: np.concatenate([np.asarray(r[i]) for r in runs]) for i, name in enumerate(names)} | {
        source.input: fed
    }
    ours = evaluator(graph, tuple(tensors))(np.asarray(x, np.float32))
    return {
        layer: _deviation(np.asarray(a), theirs[tensor])
        for (layer, tensor), a in zip(tensors.items(), ours, strict=True)
    }


def _deviation(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    unit = max(1.0, float(np.abs(theirs).max()))
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max() / unit)
