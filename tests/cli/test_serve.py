"""``keisei serve``: its page, its run, its exit codes."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_process import BREAK, address, keisei, streamed, wait_for_line
from engine_tools import fake, lives

from keisei.cli.main import main
from keisei.cli.serve import welcome_lines
from keisei.config import Server
from keisei.server.serve import bind
from keisei.store import RunReader, find_checkpoint

BREAK_SERVER = """
import keisei.server.serve
async def run_server(app, sock, stop, **tls):
    raise OSError("no more sockets")
keisei.server.serve.run_server = run_server
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_sigint_ends_streams_with_bye_saves_and_is_exit_0_and_the_run_can_be_resumed(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with keisei("serve", "--json", "--config", config, "--port", 0, "--run", run) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["address"] + "api/events?topics=status,metrics"
        with urllib.request.urlopen(url, timeout=100) as response:
            stream = streamed(response)
            next(event for event in stream if event[0] == "iteration")
            process.send_signal(signal.SIGINT)
            kinds = [kind for kind, _ in stream]
        assert kinds[-1] == "bye"
        assert "stopped" in kinds
        assert process.wait(20) == 0
        printed = [json.loads(line)["event"] for line in process.stdout]
    assert {"iteration", "stopped"} <= {*printed}
    newest, refused = find_checkpoint(run)
    assert refused == []
    log = [json.loads(line) for line in (run / "keisei.log").read_text().splitlines()]
    assert {"iteration", "stopped"} <= {line["event"] for line in log}

    step = int(newest.name)
    resume = ["train", "--config", config, "--run", run, "--resume", "--run.steps", step + 64]
    with keisei(*resume, "--json") as process:
        out, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    events = [json.loads(line) for line in out.splitlines()]
    assert next(e for e in events if e["event"] == "iteration")["step"] == step + 64
    assert events[-1]["event"] == "finished"
    series = RunReader(run).metrics(["train/kl"])["series"]["train/kl"]
    assert series["step"][-1] == step + 64


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page_shows_a_failure_until_a_signal(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["serve", "--config", config, "--port", 0, "--run", run]
    with keisei(*command, patch=BREAK) as process:
        base = address(process)
        with urllib.request.urlopen(base + "api/events?topics=status", timeout=100) as response:
            failed = next(data for kind, data in streamed(response) if kind == "failed")
        assert failed["message"] == "the third gear is gone"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(base + "readyz", timeout=10)
        with urllib.request.urlopen(base + "api/status", timeout=10) as response:
            assert json.load(response)["state"] == "failed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_training_goes_on_after_its_server_has_crashed(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["serve", "--config", config, "--port", 0, "--run", run, "--run.steps", 640]
    with keisei(*command, patch=BREAK_SERVER) as process:
        timer = threading.Timer(100, process.kill)
        timer.start()
        wait_for_line(process, "no more sockets")
        wait_for_line(process, "finished")
        timer.cancel()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert find_checkpoint(run)[0].name.lstrip("0") == "640"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_token_is_shown_once_and_is_in_no_log_file_or_process_list(
    config: Path, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "token"
    command = ["serve", "--config", config, "--port", 0, "--run", run, "--host", "0.0.0.0"]
    command += ["--server.token_file", file]
    with keisei(*command) as process:
        base = address(process)
        assert "0.0.0.0" not in base
        assert process.stdout is not None
        token = file.read_text().strip()
        assert process.stdout.readline().endswith(f": {base}#token={token}\n")
        assert process.stdout.readline() == f"The access token is in {file}\n"
        wrong = {"Authorization": f"Bearer {token}x"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(base, headers=wrong), timeout=100)
        right = {"Authorization": f"Bearer {token}"}
        for path in ("api/config", "api/log", "api/status"):
            asked = urllib.request.Request(base + path, headers=right)
            with urllib.request.urlopen(asked, timeout=100) as answer:
                assert token not in answer.read().decode()
        assert token not in " ".join(psutil.Process(process.pid).cmdline())
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    assert token not in out + error
    files = [path for path in run.rglob("*") if path.is_file()]
    assert {"run.toml", "keisei.log", "keisei.db"} <= {path.name for path in files}
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_a_later_start_says_only_where_the_token_is(tmp_path: Path) -> None:
    server = Server(token_file=str(tmp_path / "token"))
    with bind("127.0.0.1", 0) as sock:
        first, second = welcome_lines(sock, server), welcome_lines(sock, server)
    token = (tmp_path / "token").read_text().strip()
    assert [token in line for line in first] == [False, True, False]
    assert second == [first[0], first[2]]
    assert str(tmp_path / "token") in second[1]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "server.token_file"),
        (["--server.cors_origins", "*"], 2, "server.cors_origins"),
        (["--server.token_file", "/nowhere/token"], 3, "/nowhere/token: No such file"),
        (["--server.tls_certificate", "/nowhere.pem"], 3, "/nowhere.pem: No such file"),
    ],
)
def test_a_setting_that_gives_no_access_is_refused_before_a_run_is_made(
    tmp_path: Path, flags: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["serve", "--port", "0", "--run", str(run), *flags]) == code
    assert said in capsys.readouterr().err
    assert not run.exists()


GAMES = 2048
"""Games of an evaluation that is interrupted: several tables of games, one after another."""


def request(url: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """Return the answer to a GET, or to a POST of ``body``."""
    data = json.dumps(body).encode() if body is not None else None
    prepared = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(prepared, timeout=100) as response:
        found: dict[str, Any] = json.load(response)
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_server_killed_in_an_evaluation_plays_on_when_resumed(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def played(id: str) -> dict[int, dict[str, Any]]:
        return {game["number"]: game for game in RunReader(run).match_games(id, limit=GAMES)}

    serve = ("serve", "--config", config, "--port", 0, "--run", run, "--evaluation.max_ply", 60)
    share = ("--evaluation.share", 0.5)
    engine = f"usi:{fake('until-stop', tmp_path).path}?movetime=60000"  # it never plays a move
    named = ("--evaluation.engines", json.dumps({"slow": engine}))
    with keisei(*serve, *share, *named) as process:
        url = address(process) + "api/eval"
        request(url, {"opponent": "slow", "games": 2})
        heard = tmp_path / "heard"
        while not heard.exists() or "go" not in heard.read_text():
            time.sleep(0.05)
        id = request(url, {"opponent": "random", "games": GAMES})["id"]
        while len(before := played(id)) < 40:
            assert request(f"{url}/{id}?wait=0.1")["state"] in {"queued", "running"}
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        while any(lives(child.pid) for child in children):
            time.sleep(0.05)
    with keisei(*serve, *share, "--resume") as process:
        base = address(process)
        while (found := request(f"{base}api/eval/{id}?wait=60"))["state"] != "done":
            assert found["state"] in {"queued", "running"}, found
        step = request(f"{base}api/status")["step"]
        while request(f"{base}api/status")["step"] <= step:  # training goes on
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    after = played(id)
    assert found["result"]["games"] == len(after) == GAMES
    assert found["result"]["agent"] == f"run@{found['measured']} mates=1"
    pairs = [number for number in before if number ^ 1 in before]
    assert pairs
    assert all(after[number] == before[number] for number in pairs), (
        "finished pairs are not played again"
    )
