"""A USI engine that misbehaves in the way HOW: ``fake_engine.py HOW FOLDER``.

Apart from that it plays random legal moves. It writes the lines that it reads to FOLDER/heard.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rsshogi.core import Board

HOW, FOLDER = sys.argv[1], Path(sys.argv[2])
RNG = random.Random(7)


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def move(position: str) -> str:
    start, _, moves = position.removeprefix("position ").partition(" moves ")
    board = Board()
    if start.startswith("sfen "):
        board.set_sfen(start.removeprefix("sfen "))
    for usi in moves.split():
        board.apply_usi(usi)
    return RNG.choice(board.legal_moves()).to_usi()


def hang() -> None:
    time.sleep(600)


def leave() -> None:
    print("out of patience\nsecond line", file=sys.stderr, flush=True)
    sys.exit(3)


def abort() -> None:
    print("terminate called after throwing", file=sys.stderr, flush=True)
    os.abort()


def once(act: Callable[[], None]) -> None:
    """Act in the first process that uses FOLDER alone."""
    try:
        (FOLDER / "once").touch(exist_ok=False)
    except FileExistsError:
        return
    act()


def flood() -> None:
    while True:
        raw((b"x" * 99 + b"\n") * 600)


def flood_errors() -> None:
    for _ in range(300):
        sys.stderr.write(("e" * 99 + "\n") * 100)
    sys.stderr.write("enough\n")
    sys.stderr.flush()


def flood_errors_for_ever() -> None:
    while True:
        flood_errors()


def fork() -> None:
    """Start a child that keeps the pipes open and ignores SIGTERM."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code])
    (FOLDER / "forked").write_text(str(child.pid))


def escape() -> None:
    """Start a child that leaves the process group and keeps the pipes open for a while."""
    code = "import time; time.sleep(3)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    (FOLDER / "forked").write_text(str(child.pid))


def fork_and_leave() -> None:
    fork()
    sys.exit(4)


def escape_and_leave() -> None:
    escape()
    sys.exit(4)


def close_output() -> None:
    os.close(1)
    time.sleep(600)


ON_GO: dict[str, Callable[[], None]] = {
    "hang": hang,
    "exit": leave,
    "abort": abort,
    "crash-once": lambda: once(leave),
    "hang-once": lambda: once(hang),
    "flood": flood,
    "stderr": flood_errors,
    "stderr-flood": flood_errors_for_ever,
    "fork": fork,
    "fork-exit": fork_and_leave,
    "escape": escape,
    "escape-exit": escape_and_leave,
    "close": close_output,
    "megabyte": lambda: raw(b"info string " + b"m" * 2_000_000 + b"\n"),
    "endless-line": lambda: [raw(b"x" * 65_536) for _ in range(1_000_000)] and None,
}
ANSWERS = {
    "illegal": "bestmove 1a1b",
    "nonsense": "bestmove \x1b[31mhello ponder",
    "empty": "bestmove",
    "resign": "bestmove resign",
    "win": "bestmove win",
}
JUNK = (
    b"Fairy-Fake 1 by nobody\n\n\n\x00\xff\xfe\xf0\x28\nid\nid name\noption\noption name x type y\n"
    b"option name A spin type spin default x min y max\nbestmove 7g7f\nreadyok\ncheckmate\ninfo\n"
    b"info depth score cp\ninfo score mate x pv\nUnknown command: setoption\r\n   \r\n"
)


def greet() -> None:
    if HOW == "junk":
        raw(JUNK)
    if HOW == "stderr":
        flood_errors()
    lines = [
        "id name Fake engine 1.0",
        "id author Nobody, really",
        "option name Skill Level type spin default 20 min -20 max 20",
        "option name USI_Ponder type check default true",
        "option name Style type combo default Very Solid var Very Solid var Normal",
        "option name Clear Hash type button",
        "option name Eval File type string default <empty>",
        "option name nodes type spin default 1 min 1 max 10",
        "usiok",
    ]
    if HOW == "drip":
        for byte in "\r\n".join([*lines, ""]).encode():
            raw(bytes([byte]))
    else:
        say(*lines)


def answer(position: str, line: str) -> None:
    if HOW in ON_GO:
        ON_GO[HOW]()
    if HOW in ANSWERS:
        say(ANSWERS[HOW])
    elif HOW == "until-stop":
        waiting.append(position)
    else:
        if HOW == "multipv":
            say("info depth 9 multipv 1 score cp 77 pv 7g7f", "info multipv 2 score cp 5 pv 2g2f")
            say("info depth 10 score cp 900 lowerbound pv 2g2f", "info score mate + upperbound")
            say(f"bestmove {move(position)}")
            return
        say("info depth 3 nodes 12 time 4 score cp -31 pv 7g7f 3c3d", "info string bye")
        say(f"bestmove {move(position)} ponder 3c3d")


waiting: list[str] = []
if HOW == "deaf":
    hang()
if HOW == "ignore-quit":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
position = ""
with (FOLDER / "heard").open("a", encoding="utf-8") as heard:
    for line in map(str.strip, sys.stdin):
        heard.write(line + "\n")
        heard.flush()
        if line == "usi" and HOW != "silent":
            greet()
        elif line == "isready" and HOW != "never-ready":
            say("readyok")
        elif line.startswith("position"):
            position = line
        elif line.startswith("go"):
            answer(position, line)
        elif line == "stop" and waiting:
            say(f"bestmove {move(waiting.pop())}")
        elif line == "quit":
            if HOW == "ignore-quit":
                hang()
            break
