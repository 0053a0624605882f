"""``keisei usi``, used as GUIs use it."""

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_tools import nothing_left

from keisei.cli.main import main
from keisei.config import Settings
from keisei.env import VectorEnv
from keisei.nets.policy import Agent
from keisei.nets.registry import build
from keisei.play.players import load
from keisei.search import warm_up
from keisei.shogi import Position
from keisei.store import RunDirectory, save_checkpoint
from keisei.usi import Engine, EngineSpec
from keisei.usi.options import NO_FILE, OPTIONS

NET: dict[str, Any] = {"kind": "se_resnet", "blocks": 1, "channels": 8}
KEISEI = [sys.executable, "-m", "keisei", "usi"]

pytestmark = pytest.mark.timeout(300)  # the first test may have to compile everything

Ask = Callable[..., tuple[int, list[str], str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings.model_validate({"env": {"max_ply": 100}, "compute": {"dtype": "float32"}})
    with RunDirectory.create(settings, tmp_path_factory.mktemp("runs") / "形成") as run:
        for step in (10, 20):
            weights = build(**NET, seed=step).state_dict()
            save_checkpoint(run, step, {"weights": weights}, {"net": NET})
    # Compile everything: for this process, whose event loop must not block, and for others.
    warm_up()
    Position().outcome()
    subprocess.run(
        [*KEISEI, str(run.path)], input=b"isready\n", check=True, stdout=subprocess.DEVNULL
    )
    return run.path


@pytest.fixture
def launcher(run: Path, tmp_path: Path) -> Path:
    """A file that starts the engine: GUIs give no arguments."""
    path = tmp_path / "keisei-usi"
    path.write_text(f"#!/bin/sh\nexec {shlex.join([*KEISEI, str(run)])}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Ask]:
    """Run the command in this process. Returns exit code, lines on stdout, and stderr."""
    threads = torch.get_num_threads()
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]

    def ask(agent: object, *lines: str) -> tuple[int, list[str], str]:
        read, write = os.pipe()
        os.write(write, "".join(f"{line}\n" for line in lines).encode())
        os.close(write)
        with os.fdopen(read) as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            before = set(threading.enumerate())
            code = main(["usi", str(agent)])
            for reader in set(threading.enumerate()) - before:
                reader.join()  # it must not read the next pipe, which gets the same number
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    yield ask
    torch.set_num_threads(threads)
    for number, handler in handlers:
        signal.signal(number, handler)


@pytest.mark.anyio
async def test_keiseis_own_client_plays_a_whole_game_with_it(launcher: Path) -> None:
    dice, position, moves = random.Random(22), Position(), list[str]()
    spec = EngineSpec.parse(f"usi:{launcher}?nodes=16&Threads=1&Device=cpu")
    async with nothing_left(), Engine(spec) as engine:
        assert engine.name.startswith("Keisei ")
        assert [
            replace(option, default=option.default or NO_FILE) for option in engine.options.values()
        ] == [*OPTIONS]
        await engine.new_game()
        while position.outcome() is None and position.ply < 512:
            if position.side == "white":
                move = (await engine.go(" ".join(["startpos moves", *moves]))).move
                assert engine.info is not None
                assert engine.info.pv[0] == move
                assert engine.info.cp is not None or engine.info.mate is not None
            else:
                move = dice.choice(position.legal_moves())
            position.push(move)
            moves.append(move)
        engine.game_over("draw")
    assert position.ply > 20


def test_the_client_of_cshogi_plays_with_it(launcher: Path) -> None:
    usi = pytest.importorskip("cshogi.usi")
    cshogi = pytest.importorskip("cshogi")
    engine = usi.Engine(str(launcher))
    with engine.proc as process:  # cshogi leaves the pipes open
        try:
            play_by(engine, usi.InfoListener(), cshogi.Board())
        finally:
            process.kill()
    assert process.returncode == 0


def play_by(engine: Any, listener: Any, board: Any) -> None:
    """Play 30 plies with cshogi's client."""
    assert engine.name.startswith("Keisei ")
    engine.setoption("Sampling", "true")
    engine.setoption("USI_Hash", 64)
    engine.isready()
    engine.usinewgame()
    moves: list[str] = []
    for _ in range(30):
        engine.position(moves)
        clock = {"btime": 1000, "wtime": 1000, "binc": 10, "winc": 10}
        move, ponder = engine.go(**clock, listener=listener.listen())
        assert board.move_from_usi(move) in board.legal_moves
        assert listener.pv[0] == move
        board.push_usi(move)
        assert ponder is None or board.move_from_usi(ponder) in board.legal_moves
        moves.append(move)
    assert engine.go_mate() in {"timeout", "nomate"}
    engine.gameover("win")
    engine.quit()


def test_it_answers_usi_without_heavy_imports(run: Path) -> None:
    code = (
        "import sys; from keisei.cli.main import main; main(sys.argv[1:]); "
        "print(*{'torch', 'numba', 'numpy', 'pydantic'} & {*sys.modules}, 'loaded')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "usi", str(run)],
        input="usi\nquit\nisready\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    *_, last, loaded = answer.stdout.splitlines()
    assert (last, loaded) == ("usiok", "loaded")


def test_the_newest_checkpoint_plays_the_same_move_as_in_the_library(run: Path, ask: Ask) -> None:
    moves = ["7g7f", "3c3d"]
    alone = "setoption name Search value false"
    position = f"position startpos moves {' '.join(moves)}"
    code, out, err = ask(run, "usi", alone, "isready", position, "go")
    assert (code, err) == (0, "")
    assert out[0].isascii()
    assert "000000000020 (step 20) on " in out[-5]
    assert out[-4] == "readyok"
    position = Position()
    for move in moves:
        position.push(move)
    assert out[-1] == f"bestmove {load(run).best_move(position.sfen())}"


def test_its_network_gets_the_same_observations_as_in_training(
    run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations: list[np.ndarray[Any, Any]] = []
    real = Agent.assess

    def spy(self: Agent, observation: Any, mask: Any) -> Any:
        observations.append(observation)
        return real(self, observation, mask)

    monkeypatch.setattr(Agent, "assess", spy)
    env, expected = VectorEnv(1, max_ply=100, reset_pool=0), []
    position, moves, lines = Position(), list[str](), list[str]()
    for usi in ["2h3h", "8b7b", "3h2h", "7b8b"] * 2:  # the start position repeats twice
        env.step(np.array([position.action(usi)]))
        position.push(usi)
        moves.append(usi)
        expected.append(env.observation.tolist())
        lines += [f"position startpos moves {' '.join(moves)}", "go"]
    code, out, _ = ask(run, "setoption name Search value false", *lines)
    assert code == 0
    assert [observation.tolist() for observation in observations] == expected
    assert len([line for line in out if line.startswith("bestmove")]) == len(moves)


def test_a_load_error_is_reported_to_the_gui_and_on_stderr(
    run: Path, ask: Ask, tmp_path: Path
) -> None:
    missing = tmp_path / "none"
    code, out, err = ask(missing, "usi", "isready", "go")
    assert code == 1
    assert out[-2:] == ["usiok", f"info string {missing}: no such file or folder"]
    assert err == f"keisei: {missing}: no such file or folder\n"
    if not torch.cuda.is_available():
        code, out, err = ask(run, "setoption name Device value cuda", "isready")
        assert code == 1
        assert out == [f"info string {err.removeprefix('keisei: ').strip()}"]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_plays(
    ask: Ask, tmp_path: Path
) -> None:
    with RunDirectory.create(Settings(), tmp_path / "run") as run:
        for step in (1, 2):
            weights = build(**NET, seed=step).state_dict()
            path = save_checkpoint(run, step, {"weights": weights}, {"net": NET})
    (path / "weights.safetensors").write_bytes(b"x")
    code, out, err = ask(run.path, "isready")
    assert (code, out[-1]) == (0, "readyok")
    assert "(step 1)" in out[0]
    assert f"refused: {path}/weights.safetensors: damaged" in err


def test_output_of_a_network_does_not_reach_the_protocol(
    run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(*args: Any, **options: Any) -> Any:
        print("hello from a plugin")
        return load(*args, **options)

    monkeypatch.setattr("keisei.play.players.load", chatty)
    _, out, err = ask(run, "isready", "go")
    assert "hello from a plugin" not in out
    assert err == "hello from a plugin\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, None])
def test_a_signal_or_the_end_of_stdin_ends_it_with_exit_code_0(
    how: signal.Signals | None, run: Path
) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*KEISEI, str(run)], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\xff\xfe\r\nusi\r\n" + b"x" * 1_000_000 + b"\n")
        process.stdin.flush()
        while process.stdout.readline() != b"usiok\n":
            pass
        if how is None:
            process.stdin.close()
        else:
            process.send_signal(how)
        assert process.wait(20) == 0
        assert process.stderr
        assert process.stderr.read() == b""
