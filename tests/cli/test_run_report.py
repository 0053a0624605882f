"""The list of runs, and the report about one run."""

from pathlib import Path

from stored_runs import evaluate, make_run

from keisei.cli.run_report import checkpoints_text, list_text, report, report_text, summary
from keisei.store import RunDirectory
from keisei.store.retention import pin


def test_the_list_has_state_steps_time_size_and_newest_score(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", [10, 2000])
    evaluate(run, 10, "material", 0.25)
    evaluate(run, 2000, "random", 0.75, mode=" greedy")
    make_run(tmp_path / "new")
    head, one, new = list_text([summary(run), summary(tmp_path / "new")]).splitlines()
    assert head.split() == ["run", "state", "steps", "trained", "size", "newest", "score"]
    assert one.split()[:4] == ["one", "ended", "2,000", "2:00:00"]
    assert one.endswith("kB  0.750 random greedy")
    assert new.split()[:4] == ["new", "ended", "-", "-"]
    found = summary(run)
    assert found["bytes"] == sum(p.stat().st_size for p in run.rglob("*") if p.is_file())
    assert (found["checkpoints"], found["problem"]) == (2, None)


def test_a_damaged_run_is_listed_with_its_problem(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", [10])
    for file in run.glob("keisei.db*"):
        file.unlink()
    (run / "keisei.db").write_bytes(b"x" * 5000)
    text = list_text([summary(run)])
    assert "keisei.db: damaged" in text.splitlines()[-1]


def test_the_report_has_everything_about_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", [10, 20, 30], {"ppo": {"gamma": 0.5}})
    evaluate(run, 20, "random", 0.75)
    with RunDirectory.open(run) as opened:
        opened.promote(20)
        pin(opened.checkpoint(10))
    found = report(run)
    assert found["settings"]["ppo.gamma"] == 0.5
    assert "ppo.clip" not in found["settings"]
    assert [(row["step"], row["best"], row["pinned"]) for row in found["saved"]] == [
        (30, False, False), (20, True, False), (10, False, True),
    ]  # fmt: skip
    assert found["metrics"] == {"train/entropy": 4 - 0.03, "games/length": 30.0}
    assert [alert["message"] for alert in found["alerts"]] == ["at 30", "at 20", "at 10"]
    text = report_text(found)
    for line in (
        f"run      {run}",
        "ppo.gamma             0.5",
        "games/length   30",
        "  20  random    sampled     40  0.750  0.650 to 0.850",
    ):
        assert line in text.splitlines()


def test_a_damaged_checkpoint_says_so_in_the_list() -> None:
    row = {"step": 5, "created": None, "bytes": None, "error": "x", "best": True, "pinned": False}
    assert checkpoints_text([row]).splitlines()[1].split() == ["5", "-", "-", "best,", "x"]
