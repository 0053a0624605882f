"""The agent as a USI engine: what a GUI says goes in, what it is answered comes out.

Sources: the USI specification with Shogidokoro's extensions (hgm.nubati.net/usi.html), and what
ShogiHome does: it drops options with a space in their name, sets ``USI_Hash`` and ``USI_Ponder``
unasked, and leaves no time between ``usinewgame`` and ``go``.
"""

import math
import random
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from keisei.usi.protocol import Option, printable

if TYPE_CHECKING:
    from keisei.shogi import Position
    from keisei.shogi.position import Rule

OPTIONS = (
    Option("Sampling", "check", "false"),
    Option("Seed", "spin", "0", 0, 2**31 - 1),
    Option("MultiPV", "spin", "1", 1, 20),
    Option("ResignWinRate", "spin", "0", 0, 50),
    Option("ResignMoves", "spin", "3", 1, 100),
    Option("Declaration", "combo", "run", choices=("run", "27", "24", "none")),
    Option("Device", "combo", "auto", choices=("auto", "cpu", "cuda")),
    Option("Threads", "spin", "1", 1, 256),
)
"""What can be set; docs/guide/play-with-a-gui.md says what it means."""

_BY_NAME = {option.name.lower(): option for option in OPTIONS}
_BY_NAME["usi_multipv"] = _BY_NAME["multipv"]
_LIMITS = frozenset(("nodes", "depth", "movetime", "byoyomi", "btime", "wtime", "binc", "winc"))
"""Words of ``go`` that say when a search ends; beside ``infinite`` they still do."""
_SET = re.compile(r"name (.+?)(?: value(?: (.*))?)?")
_SURE = 1e-4
"""Win rates nearer to 0 and 1 are told as this: there the score would be infinite."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What an agent thinks of a position."""

    moves: tuple[tuple[str, float], ...]
    """All legal moves (USI) with their probabilities, the most probable first."""
    value: float
    """P(win) - P(loss) of the side to move."""


class Thinker(Protocol):
    """The agent, as a session needs it."""

    @property
    def about(self) -> str:
        """What it is, in one line for people."""

    @property
    def declaration(self) -> "Rule":
        """The entering-king rule of its training games."""

    def assess(self, position: "Position") -> Assessment:
        """Its assessment of a position that has a legal move; the moves that led there count."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A move that is chosen, and perhaps not told yet."""

    move: str
    win_rate: float | None = None
    """As the network sees it, 1 if the move mates; None where the rules leave no choice."""


class Session:
    """A conversation with a GUI. No input makes it raise; what ``load`` raises comes out.

    Args:
        name: what the engine calls itself.
        load: gives the agent for a device and a number of threads. Called at ``isready``, not
            before, for ``usi`` is to be answered at once; and again when either has been changed.
    """

    def __init__(self, name: str, load: Callable[[str, int], Thinker]) -> None:
        self.over = False
        """Whether the GUI has said ``quit``."""
        self._name = name
        self._load = load
        self._loaded: tuple[tuple[str, int], Thinker] | None = None
        self._values = {option.name: option.default or "" for option in OPTIONS}
        self._random = random.Random()
        self._position = ["startpos"]
        self._held: _Answer | None = None
        """What ``go infinite`` or ``go ponder`` found, until the GUI wants it."""
        self._bad = 0
        """Own moves in a row with a win rate below ``ResignWinRate``."""

    def hear(self, line: str) -> Iterator[str]:
        """The answers to a line; each is to be sent before the next is asked for."""
        word, *words = line.split() or [""]
        match word:
            case "usi":
                yield from self._introduce()
            case "isready":
                yield from self._ready()
                yield "readyok"
            case "setoption":
                yield from self._set_option(" ".join(words))
            case "position":
                self._position = words
            case "go":
                yield from self._go(words)
            case "stop":
                yield from self._stop()
            case "ponderhit":
                yield from self._ponderhit()
            case "usinewgame" | "gameover":  # nobody waits for a move of the game before
                self._held, self._bad = None, 0
            case "quit":
                self.over = True
            case "":
                pass
            case _:
                yield say(f"unknown command: {word}")

    def _introduce(self) -> Iterator[str]:
        yield f"id name {_plain(self._name)}"
        yield "id author Keisei contributors"
        for option in OPTIONS:
            words = [f"option name {option.name} type {option.type} default {option.default}"]
            if option.type == "spin":
                words.append(f"min {option.low} max {option.high}")
            words += [f"var {choice}" for choice in option.choices]
            yield " ".join(words)
        yield "usiok"

    def _set_option(self, text: str) -> Iterator[str]:
        match = _SET.fullmatch(text)
        if match is None:
            yield say(f"setoption: name NAME value VALUE (got {text!r})")
            return
        name, value = match[1].lower(), (match[2] or "").lower()
        option = _BY_NAME.get(name)
        if option is None:
            if not name.startswith("usi_"):  # GUIs set those for every engine
                yield say(f"no option {match[1]}")
        elif wrong := option.refuses(value):
            yield say(f"{option.name}: {wrong}")
        else:
            self._values[option.name] = value
            if option.name == "Seed":
                self._random = random.Random(int(value) or None)

    def _ready(self) -> Generator[str, None, Thinker]:
        wanted = self._values["Device"], int(self._values["Threads"])
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = wanted, self._load(*wanted)
            yield say(self._loaded[1].about)
        return self._loaded[1]

    def _go(self, words: list[str]) -> Iterator[str]:
        yield from self._stop()  # every ``go`` is owed a ``bestmove``
        if "mate" in words:  # before the rest: ``go mate infinite``
            yield "checkmate notimplemented"
            return
        thinker = yield from self._ready()
        answer = yield from self._choose(thinker)
        endless = "infinite" in words and _LIMITS.isdisjoint(words)
        if endless or "ponder" in words:
            self._held = answer
        else:
            yield self._play(answer)

    def _stop(self) -> Iterator[str]:
        if self._held is not None:
            yield f"bestmove {self._held.move}"
        self._held = None

    def _ponderhit(self) -> Iterator[str]:
        if self._held is not None:
            yield self._play(self._held)
        self._held = None

    def _play(self, answer: _Answer) -> str:
        """The move of a game, or its end where it has looked bad for long enough."""
        if answer.win_rate is not None:
            bad = 100 * answer.win_rate < int(self._values["ResignWinRate"])
            self._bad = self._bad + 1 if bad else 0
            if self._bad >= int(self._values["ResignMoves"]):
                return "bestmove resign"
        return f"bestmove {answer.move}"

    def _choose(self, thinker: Thinker) -> Generator[str, None, _Answer]:
        """Tell what the agent thinks of the position, and choose."""
        from keisei.shogi import IllegalMoveError, Position, SfenError  # Numba: not while it starts

        try:
            position = _set_up(self._position)
        except (SfenError, IllegalMoveError) as error:
            # Any move would be one of another position.
            yield say(f"no move: {error}")
            return _Answer("resign")
        rule = self._values["Declaration"]
        known = thinker.declaration if rule == "run" else cast("Rule", rule)
        if position.declaration(known) == "win":
            return _Answer("win")
        if not position.legal_moves():
            return _Answer("resign")
        assessment = thinker.assess(position)
        move = self._draw(assessment)
        after = Position(position.sfen())
        after.push(move)
        mates = not after.legal_moves()
        score = "mate 1" if mates else f"cp {centipawns(assessment.value)}"
        yield from _told(assessment, move, score, int(self._values["MultiPV"]))
        return _Answer(move, 1.0 if mates else _win_rate(assessment.value))

    def _draw(self, assessment: Assessment) -> str:
        if self._values["Sampling"] == "false":
            return assessment.moves[0][0]
        moves, weights = zip(*assessment.moves, strict=True)
        return str(self._random.choices(moves, weights)[0])


def centipawns(value: float) -> int:
    """A value, P(win) - P(loss), as the score that GUIs show.

    By the win rate that Yamamoto found in Ponanza's games, 1 / (1 + exp(-score / 600)), which
    shogi programs share; a draw counts half. Never beyond +-5,526.
    """
    rate = min(max(_win_rate(value), _SURE), 1 - _SURE)
    return round(600 * math.log(rate / (1 - rate)))


def _win_rate(value: float) -> float:
    return (1 + value) / 2


def _told(assessment: Assessment, chosen: str, score: str, lines: int) -> Iterator[str]:
    """The chosen move with the score, the best others without: only the position has a value."""
    others = [item for item in assessment.moves if item[0] != chosen]
    shown = [(chosen, dict(assessment.moves)[chosen]), *others[: lines - 1]]
    yield say(" ".join(["policy", *(f"{move} {share:.1%}" for move, share in shown)]))
    first = "multipv 1 " if lines > 1 else ""
    yield f"info depth 1 nodes 1 {first}score {score} pv {chosen}"
    for number, (move, _) in enumerate(shown[1:], 2):
        yield f"info depth 1 multipv {number} pv {move}"


def _set_up(words: list[str]) -> "Position":
    """The position that the words behind ``position`` tell. Raises SfenError or IllegalMoveError."""
    from keisei.shogi import Position
    from keisei.shogi.usi import read_line

    start, moves = read_line(" ".join(words))
    position = Position(start)
    for move in moves:
        position.push(move)
    return position


def say(text: str) -> str:
    """A line that the GUI shows to people."""
    return f"info string {_plain(text)}"


def _plain(text: str) -> str:
    """One line of ASCII, as the protocol is: some clients read nothing else."""
    return printable(text).encode("ascii", "backslashreplace").decode()
