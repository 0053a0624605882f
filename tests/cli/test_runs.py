"""``keisei runs``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stored_runs import make_run

from keisei.cli.main import main
from keisei.store import RunDirectory


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the runs ``a`` and ``b`` in ``runs``."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "a", [10])
    make_run(tmp_path / "runs" / "b", [20])
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main(["runs", *map(str, words)]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_the_list_as_table_and_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[0] for line in said(capsys, "list").splitlines()] == ["run", "b", "a"]
    rows = json.loads(said(capsys, "list", "--json"))
    assert [(row["id"], row["step"], row["path"]) for row in rows] == [
        ("b", 20, "runs/b"), ("a", 10, "runs/a"),
    ]  # fmt: skip
    assert said(capsys, "list", "--run.root", here / "runs").splitlines()[1].startswith("b ")
    assert said(capsys, "list", "--json", "--run.root", "nowhere") == "[]\n"


def test_show_and_compare_name_runs_by_id_and_path(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "show", "a").startswith("run      runs/a\n")
    assert json.loads(said(capsys, "show", "runs/a", "--json"))["step"] == 10
    assert "All settings are equal." in said(capsys, "compare", "a", here / "runs/b")
    assert json.loads(said(capsys, "compare", "a", "b", "--json"))["runs"] == ["a", "b"]
    assert "did you mean" in said(capsys, "show", "aa", code=2)


def test_delete_removes_the_named_runs_and_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--yes: missing" in said(capsys, "delete", "a", code=2)
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["a", "b"]
    assert said(capsys, "delete", "a", "runs/a", "--yes").startswith("deleted 1 run, ")
    assert [path.name for path in (here / "runs").iterdir()] == ["b"]


def test_no_run_is_deleted_if_one_of_them_is_in_use(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunDirectory.open(here / "runs/b"):
        assert "is in use by pid" in said(capsys, "delete", "a", "b", "--yes", code=3)
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["a", "b"]


def test_gc_says_what_it_frees_and_frees_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "gc") == "nothing to remove in runs\n"
    left = here / "runs/a/checkpoints/.new-000000000030"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"x" * 4000)
    assert json.loads(said(capsys, "gc", "--json")) == [
        {
            "path": "runs/a/checkpoints/.new-000000000030",
            "reason": "save or removal of a checkpoint that was interrupted",
            "bytes": 4000,
        }
    ]
    assert "--yes: missing" in said(capsys, "gc", code=2)
    assert left.exists()
    first, last = said(capsys, "gc", "--yes").splitlines()
    assert first.startswith("4.0 kB  runs/a/checkpoints/.new-000000000030  save or removal")
    assert last == "freed 4.0 kB"
    assert not left.exists()


def test_gc_goes_on_after_a_run_that_came_into_use(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (here / "runs" / name / "checkpoints/.new-000000000030").mkdir()
    with RunDirectory.open(here / "runs/b"):
        (here / "runs/b/checkpoints/.new-000000000030").mkdir()
        monkeypatch.setattr("keisei.store.garbage.holder_state", lambda file: "ended")
        assert "not removed" in said(capsys, "gc", "--yes", code=3)
    assert not (here / "runs/a/checkpoints/.new-000000000030").exists()
    assert (here / "runs/b/checkpoints/.new-000000000030").exists()


@pytest.mark.parametrize("words", [["runs", "list"], ["runs", "compare", "a", "b"],
                                   ["checkpoints", "list", "a"], ["checkpoints", "verify", "a"]])  # fmt: skip
def test_torch_is_not_imported(words: list[str], here: Path) -> None:
    code = (
        "import sys; from keisei.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit(code or bool({'torch', 'numba'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
