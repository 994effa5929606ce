"""The runner of another environment: it stands alone, as nothing of the project is there."""

import ast
from pathlib import Path

from experiments.benchmarks.side_by_side import RUNNER


def test_it_imports_nothing_of_the_project_and_takes_two_paths():
    tree = ast.parse(Path(RUNNER).read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not {m.split(".")[0] for m in modules} & {"neuro", "converters", "baselines", "experiments"}
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert [argument.arg for argument in main.args.args] == ["source", "result"]
