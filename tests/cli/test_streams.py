"""Commands whose standard streams are closed, full, without a reader, or in ASCII."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.store import RunReader, find_checkpoint

TINY = [
    "--config=quickstart", "--env.games=8", "--env.reset_pool=16", "--net.blocks=1",
    "--net.channels=8", "--ppo.rollout_plies=8", "--ppo.minibatch=64", "--compute.threads=1",
]  # fmt: skip
ONE_LINE = "keisei: standard output cannot be written: "
FULL, CLOSED = ONE_LINE + "No space left on device", ONE_LINE + "Bad file descriptor"


def keisei(
    words: Sequence[object], redirect: str = "", **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command line under bash with these redirections."""
    command = f'"$0" -m keisei "$@" {redirect}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", sys.executable, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, **more},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of some iterations with an evaluation. ASCII lacks a letter of its name."""
    path = tmp_path_factory.mktemp("runs") / "café"
    assert main(["train", *TINY, "--run", str(path), "--run.steps", "640"]) == 0
    assert main(["evaluate", str(path), "--opponent", "random", "--games", "2"]) == 0
    games = path.with_name("games")
    assert main(["games", "export", str(path), "--format", "kif", "--out", str(games)]) == 0
    return path


READ_ONLY = {
    "moves": ["moves", "startpos"],
    "perft": ["perft", "2", "--divide"],
    "config": ["config", "show"],
    "games": ["games", "export", "RUN", "--format", "usi"],
    "ratings": ["ratings", "RUN"],
    "metrics": ["metrics", "RUN", "--csv"],
    "warmup": ["warmup", "--dry-run", "GAMES"],
    "bench": ["bench", "env", "--steps", "100", "--json"],
}
TABLE = [
    (">/dev/full", 3, [FULL]),
    (">&-", 3, [CLOSED]),
    ("2>&-", 0, []),
    ("2>/dev/full", 0, []),
    ("<&-", 0, []),
    ("| head -c 1", 0, []),
]


BRIEF = TABLE[:1] + TABLE[-1:]
"""For most commands: the rest happens before a command is chosen, or after it has ended."""
CASES = [(name, *row) for name in READ_ONLY for row in (TABLE if name == "moves" else BRIEF)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "redirect", "code", "lines"), CASES, ids=[" ".join(case[:2]) for case in CASES]
)
def test_a_command_reports_lost_output_in_one_line_and_never_needs_stderr(
    name: str, redirect: str, code: int, lines: list[str], run: Path
) -> None:
    paths = {"RUN": str(run), "GAMES": str(run.with_name("games"))}
    words = [paths.get(word, word) for word in READ_ONLY[name]]
    done = keisei(words, redirect)
    assert (done.returncode, done.stderr.splitlines()) == (code, lines)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_a_character_that_the_encoding_lacks_is_written_as_an_escape(
    more: dict[str, str], run: Path, tmp_path: Path
) -> None:
    for words in (["config", "show", "--server.allowed_hosts", "café"], ["ratings", run]):
        done = keisei(words, **more)
        assert (done.returncode, done.stderr) == (0, "")
        assert "caf" in done.stdout
    done = keisei(["train", *TINY, "--run", tmp_path / "été", "--run.steps", 64], **more)
    assert done.returncode == 0
    assert "finished at step 64" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_evaluation_whose_result_cannot_be_printed_is_stored(run: Path) -> None:
    before = len(RunReader(run).evaluations())
    words = ["evaluate", run, "--opponent", "random", "--games", "2", "--seed"]
    for seed, redirect, code, said in (
        (5, ">/dev/full", 3, FULL),
        (6, ">&-", 3, CLOSED),
        (7, "2>&-", 0, ""),
        (8, "--json | head -c 1", 0, ""),
    ):
        done = keisei([*words, seed], redirect)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    kept = RunReader(run).evaluations()
    assert len(kept) == before + 4
    assert {found["state"] for found in kept} == {"done"}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        (">/dev/full", 0, "finished at step 64"),
        ("2>/dev/full", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("--json >/dev/full", 3, f"{FULL}: no more events are printed"),
    ],
)
def test_training_goes_on_without_its_standard_streams(
    redirect: str, code: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    done = keisei(["train", *TINY, "--run", path, "--run.steps", 64], redirect)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert find_checkpoint(path)[0].name.lstrip("0") == "64"
    assert RunReader(path).metrics()["series"]["train/kl"]["step"] == [64]


@pytest.mark.slow
@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", ">/dev/full", ">&-"])
def test_an_engine_ends_when_its_gui_has_closed_stdout(redirect: str, run: Path) -> None:
    done = keisei(["usi", run], f"{redirect} <<< $'usi\\nquit'")
    lost = redirect.startswith(">")
    assert done.returncode == (3 if lost else 0)
    assert len(done.stderr.splitlines()) == lost
    assert ("usiok" in done.stdout) is not lost


@contextlib.contextmanager
def on_a_terminal(words: Sequence[object]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command on a new terminal. Yield the process and the other side of the terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "keisei", *map(str, words)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            with contextlib.suppress(OSError):
                os.close(ours)


def steps(run: Path) -> set[int]:
    """Steps of the checkpoints."""
    return {int(path.name) for path in run.glob("checkpoints/0*")}


def wait_for_a_checkpoint(process: subprocess.Popen[bytes], run: Path) -> None:
    """Wait until the process has saved another checkpoint."""
    before = max(steps(run), default=0)
    while max(steps(run), default=0) <= before:
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_goes_on_after_its_terminal_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    words = ["train", *TINY, "--run", path, "--run.steps", 100_000, "--run.checkpoint_seconds", 0.5]
    with on_a_terminal(words) as (process, terminal):
        for _ in range(50):
            os.read(terminal, 1024)
            if steps(path):
                break
        os.close(terminal)
        before = max(steps(path), default=0)
        wait_for_a_checkpoint(process, path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert int(find_checkpoint(path)[0].name) > before


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", ["train", "serve"])
def test_sighup_stops_a_run_in_good_order(command: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    more = ["--port", "0"] if command == "serve" else []
    words = [command, *TINY, *more, "--run", path, "--run.checkpoint_seconds", 0.5]
    arguments = [sys.executable, "-m", "keisei", *map(str, words)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for_a_checkpoint(process, path)
        process.send_signal(signal.SIGHUP)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert '"stopped"' in (path / "keisei.log").read_text()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_sighup_stays_ignored_under_nohup(tmp_path: Path) -> None:
    path = tmp_path / "run"
    words = ["train", *TINY, "--run", path, "--run.checkpoint_seconds", 0.5]
    arguments = ["nohup", sys.executable, "-m", "keisei", *map(str, words)]
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_for_a_checkpoint(process, path)
        process.send_signal(signal.SIGHUP)
        wait_for_a_checkpoint(process, path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_two_signals_that_timeout_sends_count_as_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-m", "keisei", "train", *TINY, "--run", str(path)]
    done = subprocess.run(
        ["timeout", "--preserve-status", "12", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "stopped" in done.stderr
    assert "Thread" not in done.stderr
