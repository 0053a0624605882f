"""``keisei watch`` beside a real ``keisei train``, and its refusals."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_process import TINY, keisei, streamed

from keisei.cli.main import main


def get(url: str, path: str = "api/status") -> Any:
    """Return the JSON answer of a server."""
    with urllib.request.urlopen(url + path, timeout=30) as answer:
        return json.load(answer)


def until(url: str, **fields: Any) -> dict[str, Any]:
    """Wait until the status has these fields; return it."""
    deadline = time.monotonic() + 60
    while not fields.items() <= (found := get(url)).items():
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return dict(found)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that watches a folder, in which one run trains."""
    folder = tmp_path_factory.mktemp("watched")
    config = folder / "tiny.toml"
    config.write_text(TINY)
    train = ["train", "--config", config, "--run", folder / "runs/a", "--json"]
    with keisei("watch", folder / "runs/a", "--port", 0, "--json") as watch, keisei(*train) as run:
        assert watch.stdout
        assert run.stdout
        address: str = json.loads(watch.stdout.readline())["address"]
        next(line for line in run.stdout if json.loads(line)["event"] == "iteration")
        yield address
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 0
        until(address, state="stopped")
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(10) == 0
        assert watch.stderr
        assert "Traceback" not in watch.stderr.read()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_iterations_and_boards_are_seen_within_two_seconds(url: str) -> None:
    late = []
    with urllib.request.urlopen(f"{url}api/events?topics=metrics,board", timeout=60) as response:
        for event, data in streamed(response):
            if event in {"iteration", "board"}:
                late.append((event, time.time() - data["time"]))
            if len(late) >= 20 and {event for event, _ in late} == {"iteration", "board"}:
                break
    assert max(seconds for _, seconds in late) < 2


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_api_shows_the_data_of_the_run(url: str) -> None:
    found = until(url, state="running")
    assert (found["run"], found["watched"], found["net"]) == ("a", True, "se_resnet 1x8")
    assert get(url, "api/config")["net"]["channels"] == 8
    assert get(url, "api/metrics?keys=train/kl")["series"]["train/kl"]["iteration"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url}api/control/stop", data=b"", timeout=30)


def test_watching_needs_no_torch() -> None:
    code = "import keisei.watch.root, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["watch", str(tmp_path / "file")]) == 2
    assert "not a folder" in capsys.readouterr().err


def test_another_address_needs_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "runs", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "server.token_file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [[], ["later"]])
def test_a_folder_of_runs_and_a_run_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with keisei("watch", *folder, "--port", 0, "--json") as process:
        assert process.stdout
        url = json.loads(process.stdout.readline())["address"]
        if folder:
            assert get(url)["state"] == "starting"
        else:
            assert get(url, "api/runs") == {"runs": [], "next": None}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []
