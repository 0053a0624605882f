"""A package made from the text of docs/guide/plugins.md alone works, and its errors do no harm."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs/guide/plugins.md"
TINY = [
    "--device", "cpu", "--env.games", "8", "--env.max_ply", "32", "--env.reset_pool", "16",
    "--net.blocks", "1", "--net.channels", "8", "--ppo.rollout_plies", "16",
    "--ppo.minibatch", "64", "--compute.threads", "1", "--evaluation.every_steps", "128",
    "--evaluation.games", "2", "--evaluation.share", "0.9", "--evaluation.max_ply", "16",
    "--evaluation.promotion_games", "0",
]  # fmt: skip
BROKEN = {
    "sink": ("def write_blocking(self, events):", "raise SystemExit('sink')"),
    "callback": ("def on_iteration(self, event):", "raise SystemExit('callback')"),
    "strategy": ("def first_two(agents, opponents):", "raise SystemExit('strategy')"),
}
"""The line of each file after which the second package raises."""


def write_package(folder: Path) -> Path:
    """Write the files of the guide. Their blocks begin with the file's name."""
    block = r"^```\w+\n# (\S+)\n(.*?)^```$"
    blocks = re.findall(block, GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def install(package: Path, environment: Path) -> Path:
    """Install the package into a fresh environment that also sees this one; return its Python."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(command, check=True)
    site = environment / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "ours.pth").write_text(f"{ROOT}\n{ours}\n")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(site), str(package)]
    subprocess.run(command, check=True)
    return environment / "bin/python"


def train(python: Path, run: Path, end: str) -> list[dict[str, object]]:
    """Run the guide's command until an evaluation has the state ``end``; return its events."""
    line = re.search(r"^keisei (train .*)$", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert line
    command = [str(python), "-m", "keisei", *line[1].split(), "--json", "--run", str(run), *TINY]
    without = {"PYTHONPATH", "PYTHONHOME"}
    environment = {key: value for key, value in os.environ.items() if key not in without}
    events = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=run.parent,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            for text in process.stdout:
                events.append(json.loads(text))
                if (events[-1]["event"], events[-1].get("state")) == ("evaluation", end):
                    process.terminate()
            assert process.wait(30) == 0, process.stderr and process.stderr.read()
        finally:
            process.kill()
    return events


def iterations(events: list[dict[str, object]]) -> list[object]:
    """Return the steps of the iterations among the events."""
    return [event["step"] for event in events if event["event"] == "iteration"]


def check(events: list[dict[str, object]]) -> None:
    """Check that training went on from the first iteration to an orderly stop."""
    steps = iterations(events)
    assert steps == list(range(128, 128 * len(steps) + 1, 128))
    assert len(steps) > 1
    assert "stopped" in {event["event"] for event in events}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Install the package of the guide into a fresh environment; return its Python."""
    pytest.importorskip("hatchling", reason="pip install hatchling to build the package")
    return install(write_package(tmp_path / "my-keisei"), tmp_path / "environment")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_package_of_the_guide_works(python: Path, tmp_path: Path) -> None:
    events = train(python, tmp_path / "run", "done")
    check(events)
    assert [event for event in events if event.get("level") == "error"] == []
    assert {e["strategy"] for e in events if e["event"] == "evaluation"} == {"first_two"}
    text = (tmp_path / "run/events.jsonl").read_text()
    assert iterations([json.loads(line) for line in text.splitlines()]) == iterations(events)


@pytest.mark.nightly
@pytest.mark.timeout(180)
def test_the_errors_of_a_package_never_reach_training(python: Path, tmp_path: Path) -> None:
    for name, (line, error) in BROKEN.items():
        (file,) = tmp_path.glob(f"environment/lib/*/site-packages/my_keisei/{name}.py")
        text = file.read_text()
        indent = "    " if line.startswith("def first") else "        "
        assert line in text
        file.write_text(text.replace(line, f"{line}\n{indent}{error}"))
    events = train(python, tmp_path / "run", "failed")
    check(events)
    told = {event["name"] for event in events if event["event"] == "alert"}
    assert {"sink json_lines", "callback watch_entropy"} <= told
    failed = [event for event in events if event.get("state") == "failed"]
    assert "the strategy raised SystemExit('strategy')" in str(failed[0]["message"])
