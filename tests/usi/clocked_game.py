"""Games against the engine on a clock, with a GUI that may delay and burst its lines."""

import contextlib
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from keisei.shogi import IllegalMoveError, Position

KEISEI = [sys.executable, "-m", "keisei", "usi"]
MOST_PLIES = 200


@dataclass
class Process:
    """A running engine; every line of it comes with the time of its arrival."""

    agent: str
    rough: random.Random | None = None
    """If given, lines are delayed, split and sent together."""

    def __post_init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*KEISEI, self.agent], stdin=pipe, stdout=pipe)
        self.lines: queue.Queue[tuple[float, str]] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put((time.monotonic(), line.decode().rstrip("\n")))

    def say(self, *lines: str) -> None:
        """Write lines; the last one arrives as the method returns."""
        assert self.process.stdin
        data = "".join(f"{line}\n" for line in lines).encode()
        if self.rough:
            cut = self.rough.randrange(len(data))
            self.process.stdin.write(data[:cut])
            self.process.stdin.flush()
            time.sleep(self.rough.choice((0, 0, 0.001, 0.03)))
            data = data[cut:]
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def until(self, word: str) -> tuple[float, str]:
        """Return the next line that begins with the word, and when it came."""
        while True:
            when, line = self.lines.get(timeout=300)
            if line.split()[0] == word:
                return when, line

    def quit(self) -> int:
        self.say("quit")
        return self.process.wait(20)

    def close(self) -> None:
        """End the process, if it still runs, and close its pipes."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@dataclass
class Report:
    """What happened in some games."""

    games: int = 0
    moves: int = 0
    late: list[float] = field(default_factory=list)
    """Seconds over the time, for each loss on time."""
    illegal: list[str] = field(default_factory=list)
    slowest: float = 0.0
    score: float = 0.0


def play(
    engine: Process,
    opponent: Callable[[Position], str | None],
    report: Report,
    *,
    engine_is_black: bool,
    main: int = 0,
    byoyomi: int = 0,
    bonus: int = 0,
) -> None:
    """Play a game; the engine's clock alone is watched."""
    position, moves, left = Position(), list[str](), main
    engine.say("usinewgame")
    report.games += 1
    while position.outcome() is None and position.ply < MOST_PLIES:
        if (position.side == "black") == engine_is_black:
            clock = f"btime {left} wtime {left} byoyomi {byoyomi}"
            if bonus:
                clock = f"btime {left} wtime {left} binc {bonus} winc {bonus}"
            engine.say(f"position startpos moves {' '.join(moves)}", f"go {clock}")
            began = time.monotonic()
            when, line = engine.until("bestmove")
            move, taken = line.split()[1], when - began
            report.moves += 1
            report.slowest = max(report.slowest, taken)
            over = max(taken - left / 1000, 0) - byoyomi / 1000
            if over > 0:
                report.late.append(over)
            left = max(left - round(1000 * taken), 0) + bonus
        else:
            move = opponent(position) or "resign"
        if move in {"resign", "win"}:
            mine = (position.side == "black") == engine_is_black
            report.score += mine == (move == "win")
            break
        try:
            position.push(move)
        except IllegalMoveError as error:
            report.illegal.append(str(error))
            break
        moves.append(move)
    else:
        outcome = position.outcome()
        winner = outcome.winner if outcome else None
        report.score += 0.5 if winner is None else (winner == "black") == engine_is_black
    engine.say("gameover draw")


def match(
    agent: str, games: int, opponent: Callable[[Position], str | None], **clock: int
) -> Report:
    """Play games in turn with both colours. ``rough`` among the clock's words is a seed."""
    rough = clock.pop("rough", None)
    engine, report = Process(agent, random.Random(rough) if rough else None), Report()
    try:
        engine.say("usi", "isready")
        engine.until("readyok")
        for number in range(games):
            play(engine, opponent, report, engine_is_black=number % 2 == 0, **clock)
        assert engine.quit() == 0
    finally:
        engine.close()
    return report
