"""House rules that a machine can check."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from baselines import device
from neuro.constants import bundled

ROOT = Path(__file__).parents[1]
PACKAGES = ("neuro", "converters", "baselines", "experiments")
DESCRIPTIONS = ("neuro.chips", "baselines.devices")
LINES = 400
BASES = {"measured", "simulated", "datasheet", "derived", "assumed"}
UNTRACKED = {"runs", "build", "dist", "__pycache__"}
HIDDEN = {".ci", ".github", ".gitignore"}


def modules() -> list[Path]:
    return sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def imported(test: Path) -> Iterator[str]:
    """Dotted names that a test file imports, `from a import b` as both a and a.b."""
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def constants(table: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every table with a value, and its key path: the constants as written, without the reader of the project."""
    for key, entry in table.items():
        if isinstance(entry, dict) and "value" in entry:
            yield f"{path}{key}", entry
        elif isinstance(entry, dict):
            yield from constants(entry, f"{path}{key}.")


def test_no_file_is_longer_than_the_limit():
    lengths = {p.relative_to(ROOT): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert lengths, "no modules found"
    assert {p: n for p, n in lengths.items() if n > LINES} == {}


def test_every_module_has_a_test():
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    names = {name for test in tests for name in imported(test)}
    untested = []
    for module in modules():
        path = module.relative_to(ROOT).with_suffix("")
        own = ROOT / "tests" / path.parent / f"test_{path.name}.py"
        if path.name != "__init__" and ".".join(path.parts) not in names and not own.exists():
            untested.append(str(path))
    assert untested == []


def test_dependencies_point_inwards():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", DESCRIPTIONS)
def test_every_bundled_constant_is_cited(package):
    names = bundled(package)
    assert names, f"{package} ships no description"
    for name in names:
        tree = tomllib.loads((resources.files(package) / f"{name}.toml").read_text(encoding="utf-8"))
        if package == device.PACKAGE:  # what the kind shares belongs to every file of it
            tree = device.completed(tree)
        found = dict(constants(tree))
        assert found, f"{name} holds no constant"
        for key, entry in found.items():
            assert entry.get("source") in tree["sources"], f"{name}: {key} has no declared source"
            assert entry.get("basis") in BASES, f"{name}: {key} has no basis"
            assert entry["basis"] != "assumed" or {"low", "high"} & set(entry), f"{name}: {key} needs a range"


def test_no_machine_paths():
    """Nothing in the repository depends on where it was written."""
    forbidden = ["/".join(("", folder, "")) for folder in ("root", "work")]
    kinds = {".py", ".toml", ".md", ".txt", ".lock", ".cff", ".yml", ".yaml", ".cc", ".h", ".j2", ".html", ""}
    found = []
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        untracked = any(part in UNTRACKED or (part[0] == "." and part not in HIDDEN) for part in inside)
        if untracked or path.suffix not in kinds or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in forbidden if word in text]
    assert found == []
