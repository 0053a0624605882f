"""Rules for the whole package: layers, light imports, no pickle, a test file for each module."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keisei"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter that ran ``code``."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(answer.stdout.splitlines()[-1].split())


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def found(names: set[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        for line, name in calls(path)
        if name in names
    ]


def test_layers_and_forbidden_imports() -> None:
    pytest.importorskip("importlinter")
    command = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run(
        [command, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("module", ["keisei", "keisei.shogi", "keisei.env", "keisei.events"])
def test_light_imports(module: str) -> None:
    """The rules are for everybody: nobody should need torch to import them."""
    heavy = {"torch", "wandb", "structlog", "starlette", "uvicorn", "rsshogi"}
    assert not loaded_by(f"import {module}") & heavy


def test_help_is_light() -> None:
    code = "from keisei.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & {
        "torch",
        "numba",
        "wandb",
        "starlette",
        "pydantic",
        "structlog",
        "rich",
    }


def test_the_loop_belongs_to_the_entry_point() -> None:
    entries = {PACKAGE / "cli", PACKAGE / "testing/__main__.py"}
    below = [path for path in SOURCES if not entries & {path, *path.parents}]
    starters = {"asyncio.run", "anyio.run", "asyncio.new_event_loop", "anyio.from_thread.run"}
    assert found(starters, below) == []


def test_nothing_unpickles() -> None:
    assert found({"torch.load", "torch.save", "pickle.load", "pickle.loads"}, SOURCES) == []
    assert not [path for path in SOURCES if "allow_pickle=True" in path.read_text("utf-8")]


def test_tools_need_no_private_names() -> None:
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name}"
        for path in [*SOURCES, *sorted((ROOT / "tools").rglob("*.py"))]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keisei")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert taken == []


def test_no_compiled_function_calls_one_of_another_file() -> None:
    """Numba's disk cache doesn't notice an edit in a callee in another file."""
    jitted = [
        path
        for path in SOURCES
        if "import numba" in (text := path.read_text("utf-8")) or "from numba" in text
    ]
    names = [path.relative_to(PACKAGE).as_posix() for path in jitted]
    assert names == ["search/tree.py", "shogi/kernels.py"]
    for path in jitted:
        assert "keisei" not in {name.partition(".")[0] for name in _imports(path)}, path


def _imports(path: Path) -> list[str]:
    """Return the modules that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("keisei" if node.level else node.module or "")
    return found


def test_every_module_has_a_docstring() -> None:
    assert [p.name for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text("utf-8")))] == []


def test_the_gpl_library_is_not_needed_to_run() -> None:
    """cshogi is in the test extra alone."""
    metadata = (ROOT / "pyproject.toml").read_text("utf-8")
    assert "cshogi" not in metadata[: metadata.index("[project.optional-dependencies]")]


def test_the_readme_maps_every_module() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    tree = readme[readme.index("## Map of files") :]
    listed = [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]
    files = [path.name for path in SOURCES if path.name != "__init__.py" or path.parent == PACKAGE]
    assert sorted(name for name in listed if name.endswith(".py")) == sorted(files)


COVERED_ELSEWHERE = {
    "__main__.py": "tests/cli runs it as python -m keisei",
    "cli/errors.py": "cli/test_main",
    "nets/mlp.py": "nets/test_network runs over every kind",
    "records/game.py": "the tests of every reader",
    "runtime/plan.py": "dataclasses only; runtime/test_prepare makes them",
    "search/found.py": "dataclasses only; search/test_search reads them",
    "server/documents.py": "types only; server/contract.py checks every answer against them",
    "sinks/wandb_client.py": "sinks/test_wandb starts, kills and stops the process",
    "sinks/wandb_process.py": "sinks/test_wandb reads what the process has written",
    "testing/__main__.py": "server/test_connections runs it as python -m keisei.testing",
}
"""Modules without a test file of their name, and where they are tested or why they need none."""


def test_every_module_has_a_test_file_of_its_name() -> None:
    """``tests/a/test_b.py``, or several ``test_b_*.py``, for ``keisei/a/b.py``."""
    modules = [path.relative_to(PACKAGE) for path in SOURCES if path.name != "__init__.py"]
    without = {
        module.as_posix()
        for module in modules
        for folder in [ROOT / "tests" / module.parent]
        if not (folder / f"test_{module.stem}.py").exists()
        and not list(folder.glob(f"test_{module.stem}_*.py"))
    }
    assert sorted(without - {*COVERED_ELSEWHERE}) == [], "write a test file or add a reason"
    assert sorted({*COVERED_ELSEWHERE} - without) == [], "these entries are no longer needed"
