"""``keisei checkpoints``."""

import json
from pathlib import Path

import pytest
from stored_runs import damage, evaluate, make_run

from keisei.cli.main import main
from keisei.store import RunDirectory

FOLDER = "runs/a/checkpoints/0000000000"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the run ``a`` in ``runs``."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "a", [10, 20, 30])
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main(["checkpoints", *map(str, words)]) == code
    captured = capsys.readouterr()
    return captured.out if code in {0, 3} and captured.out else captured.err


def steps(here: Path) -> list[int]:
    return sorted(int(path.name) for path in (here / "runs/a/checkpoints").iterdir())


def test_the_list_has_newest_first_and_marks(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "pin", "a", "10", "20") == ""
    assert said(capsys, "unpin", "a", "20") == ""
    lines = said(capsys, "list", "a").splitlines()
    assert [line.split()[0] for line in lines] == ["step", "30", "20", "10"]
    assert lines[3].endswith("kB  pinned")
    rows = json.loads(said(capsys, "list", "a", "--json"))
    assert [row["pinned"] for row in rows] == [False, False, True]
    message = said(capsys, "pin", "a", "10", "11", code=1)
    assert message == "keisei: runs/a: no checkpoint of step 11; it has 30, 20, 10\n"
    assert "no checkpoint yet" in said(capsys, "list", make_run(here / "runs/new"))


def test_verify_names_each_damaged_checkpoint_with_the_reason(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "verify", "a").splitlines() == [
        f"valid    {FOLDER}{step}" for step in (10, 20, 30)
    ]
    damage(here / f"{FOLDER}20/weights.safetensors")
    (here / f"{FOLDER}30/state.json").unlink()
    assert said(capsys, "verify", "a", code=3).splitlines() == [
        f"valid    {FOLDER}10",
        f"invalid  {FOLDER}20/weights.safetensors: damaged (its SHA-256 differs from the manifest's)",
        f"invalid  {FOLDER}30/state.json: No such file or directory",
    ]
    rows = json.loads(said(capsys, "verify", "a/10", f"{FOLDER}20", "--json", code=3))
    assert [row["valid"] for row in rows] == [True, False]
    assert rows[0] == {"path": f"{FOLDER}10", "valid": True, "problem": None}
    assert "no checkpoint yet" in said(capsys, "verify", make_run(here / "new"), code=1)


def test_prune_keeps_the_newest_and_the_pinned(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "prune", "a") == "runs/a: no checkpoint to remove\n"
    said(capsys, "pin", "a", "10")
    assert "--yes: missing" in said(capsys, "prune", "a", "--keep", "1", code=2)
    assert steps(here) == [10, 20, 30]
    assert "removed 1 checkpoint, " in said(capsys, "prune", "a", "--keep", "1", "--yes")
    assert steps(here) == [10, 30]


def test_prune_keeps_one_checkpoint_in_every_span(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "prune", "a", "--keep", "1", "--every", "20", "--yes")
    assert steps(here) == [20, 30]


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--keep", "0"], "--keep: at least 1 (got 0)"), (["--every=-1"], "--every: at least 0")],
)
def test_prune_refuses_wrong_numbers_and_runs_in_use(
    flags: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in said(capsys, "prune", "a", *flags, "--yes", code=2)
    with RunDirectory.open(here / "runs/a"):
        assert "is in use by pid" in said(capsys, "prune", "a", "--keep", "1", "--yes", code=3)
    assert steps(here) == [10, 20, 30]


def test_export_writes_the_newest_valid_network_with_its_card(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(here / "runs/a", 20, "random", 0.75)
    damage(here / f"{FOLDER}30/weights.safetensors")
    assert main(["checkpoints", "export", "a", "--license", "MIT"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a-20\n"
    assert captured.err.startswith(f"keisei: refused: {FOLDER}30/weights.safetensors: damaged")
    card = (here / "a-20/README.md").read_text()
    assert 'license: "MIT"' in card
    assert "| a@20 | random | sampled | 40 | 0.750 | 0.650 to 0.850 |" in card
    assert said(capsys, "verify", "a-20") == "valid    a-20\n"
    assert "already exists" in said(capsys, "export", "a/20", code=3)
    assert said(capsys, "export", "a/10", "--out", "x/old", "--title", "Old") == "x/old\n"
    assert "\n# Old\n" in (here / "x/old/README.md").read_text()
