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
    "--ppo.minibatch", "64", "--compute.threads", "1", "--run.checkpoint_seconds", "0.5",
]  # fmt: skip
STEPS = 128 * 30
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


def train(python: Path, run: Path, steps: int, *more: str) -> list[dict[str, object]]:
    """Run the guide's command; return the events that it printed."""
    line = re.search(r"^keisei (train .*)$", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert line
    command = [str(python), "-m", "keisei", *line[1].split(), "--json", "--run", str(run)]
    command += [*TINY, "--run.steps", str(steps), *more]
    without = {"PYTHONPATH", "PYTHONHOME"}
    environment = {key: value for key, value in os.environ.items() if key not in without}
    answer = subprocess.run(
        command, capture_output=True, text=True, cwd=run.parent, env=environment, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def iterations(events: list[dict[str, object]]) -> list[object]:
    """Return the steps of the iterations among the events."""
    return [event["step"] for event in events if event["event"] == "iteration"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    pytest.importorskip("hatchling", reason="pip install hatchling to build the package")
    return write_package(tmp_path / "my-keisei")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_package_of_the_guide_works_and_its_errors_never_reach_training(
    package: Path, tmp_path: Path
) -> None:
    python = install(package, tmp_path / "environment")
    evaluated = ["--evaluation.every_steps", "128", "--evaluation.games", "2"]
    evaluated += ["--evaluation.share", "0.9", "--evaluation.max_ply", "16"]
    evaluated += ["--evaluation.promotion_games", "0"]
    events = train(python, tmp_path / "good", STEPS, *evaluated)
    assert [event for event in events if event.get("level") == "error"] == []
    assert "finished" in {event["event"] for event in events}
    text = (tmp_path / "good/events.jsonl").read_text()
    sunk = [json.loads(line) for line in text.splitlines()]
    whole = list(range(128, STEPS + 1, 128))
    assert iterations(sunk) == whole
    done = [event for event in sunk if event.get("state") == "done"]
    assert {"first_two"} == {event["strategy"] for event in done}, "no evaluation ended"

    for name, (line, error) in BROKEN.items():
        (file,) = tmp_path.glob(f"environment/lib/*/site-packages/my_keisei/{name}.py")
        text = file.read_text()
        indent = "    " * (line.startswith("def first") or 2)
        assert line in text
        file.write_text(text.replace(line, f"{line}\n{indent}{error}"))
    events = train(python, tmp_path / "bad", STEPS, *evaluated)
    assert "finished" in {event["event"] for event in events}
    told = {str(event["name"]) for event in events if event["event"] == "alert"}
    assert {"sink json_lines", "callback watch_entropy"} <= told
    failed = [event for event in events if event.get("state") == "failed"]
    assert "the strategy raised SystemExit('strategy')" in str(failed[0]["message"])
    assert iterations(events) == whole, "training missed iterations"
