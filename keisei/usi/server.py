"""Answer the commands of a shogi GUI as a USI engine.

Sources: the USI specification with Shogidokoro's extensions (hgm.nubati.net/usi.html), and the
behaviour of ShogiHome. ShogiHome ignores options with a space in the name, always sets ``USI_Hash``
and ``USI_Ponder``, and sends ``go`` immediately after ``usinewgame``.
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
    Option("Mates", "combo", "1", choices=("0", "1", "3")),
    Option("MultiPV", "spin", "1", 1, 20),
    Option("ResignWinRate", "spin", "0", 0, 50),
    Option("ResignMoves", "spin", "3", 1, 100),
    Option("Declaration", "combo", "run", choices=("run", "27", "24", "none")),
    Option("Device", "combo", "auto", choices=("auto", "cpu", "cuda")),
    Option("Threads", "spin", "1", 1, 256),
)
"""The engine's options; docs/guide/play-with-a-gui.md explains them."""

_BY_NAME = {option.name.lower(): option for option in OPTIONS}
_BY_NAME["usi_multipv"] = _BY_NAME["multipv"]
_LIMITS = frozenset(("nodes", "depth", "movetime", "byoyomi", "btime", "wtime", "binc", "winc"))
"""Words that limit the search of a ``go`` command. They override the word ``infinite``."""
_SET_OPTION = re.compile(r"name (.+?)(?: value(?: (.*))?)?")
_LEAST_RATE = 1e-4
"""Smallest distance of a win rate from 0 and 1. At 0 and 1 the score would be infinite."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """A network's output for a position: move probabilities and a value."""

    moves: tuple[tuple[str, float], ...]
    """All legal moves (USI) with their probabilities, most probable move first."""
    value: float
    """P(win) - P(loss) for the side to move."""


class Thinker(Protocol):
    """A network that assesses positions for a session."""

    @property
    def about(self) -> str:
        """One line of text for the user, with the names of the checkpoint and the device."""

    @property
    def declaration(self) -> "Rule":
        """The entering-king rule of the training games."""

    def assess(self, position: "Position") -> Assessment:
        """Assess a position that has a legal move. The result also depends on earlier moves."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A move that the network chose, before the move is sent to the GUI."""

    move: str
    win_rate: float | None = None
    """The network's win rate; 1 if the move begins a forced mate or mates; None if the network was
    not asked."""


class Session:
    """A session with a GUI. A wrong line from the GUI raises no error, but ``load`` can raise one.

    Args:
        name: the engine's name.
        load: function that returns the thinker for a device and a number of CPU threads. The first
            ``isready`` or ``go`` calls ``load``. ``usi`` does not, because a GUI expects the answer
            to ``usi`` at once. A later ``isready`` or ``go`` calls ``load`` again if the device or
            the number of threads has changed.
    """

    def __init__(self, name: str, load: Callable[[str, int], Thinker]) -> None:
        self.over = False
        """Whether the GUI has sent ``quit``."""
        self._name = name
        self._load = load
        self._loaded: tuple[tuple[str, int], Thinker] | None = None
        self._values = {option.name: option.default or "" for option in OPTIONS}
        self._random = random.Random()
        self._position = ["startpos"]
        self._pending: _Answer | None = None
        """The answer to ``go infinite`` or ``go ponder``, until the GUI asks for this answer."""
        self._bad_moves = 0
        """Number of consecutive moves so far with a win rate below ``ResignWinRate``."""

    def hear(self, line: str) -> Iterator[str]:
        """Yield the answers to a line. Send each answer before you ask for the next answer."""
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
            case "usinewgame" | "gameover":  # the previous game needs no more moves
                self._pending, self._bad_moves = None, 0
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
        match = _SET_OPTION.fullmatch(text)
        if match is None:
            yield say(f"write setoption name NAME value VALUE (got {text!r})")
            return
        name, value = match[1].lower(), (match[2] or "").lower()
        option = _BY_NAME.get(name)
        if option is None:
            if not name.startswith("usi_"):  # GUIs set such options for every engine
                yield say(f"no option {match[1]}")
        elif problem := option.problem_with(value):
            yield say(f"{option.name}: {problem}")
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
        yield from self._stop()  # the previous ``go`` may still need its ``bestmove``
        if "mate" in words:  # ``go mate infinite`` contains ``infinite``, too
            yield "checkmate notimplemented"
            return
        thinker = yield from self._ready()
        answer = yield from self._choose(thinker)
        endless = "infinite" in words and _LIMITS.isdisjoint(words)
        if endless or "ponder" in words:
            self._pending = answer
        else:
            yield self._move_or_resign(answer)

    def _stop(self) -> Iterator[str]:
        if self._pending is not None:
            yield f"bestmove {self._pending.move}"
        self._pending = None

    def _ponderhit(self) -> Iterator[str]:
        if self._pending is not None:
            yield self._move_or_resign(self._pending)
        self._pending = None

    def _move_or_resign(self, answer: _Answer) -> str:
        """Return ``bestmove`` with the move, or ``bestmove resign`` after too many bad moves."""
        if answer.win_rate is not None:
            bad = 100 * answer.win_rate < int(self._values["ResignWinRate"])
            self._bad_moves = self._bad_moves + 1 if bad else 0
            if self._bad_moves >= int(self._values["ResignMoves"]):
                return "bestmove resign"
        return f"bestmove {answer.move}"

    def _choose(self, thinker: Thinker) -> Generator[str, None, _Answer]:
        """Yield ``info`` lines about the position, and return the chosen move."""
        # This import loads Numba, which takes seconds. ``usi`` must be answered without this wait.
        from keisei.shogi import IllegalMoveError, Position, SfenError
        from keisei.shogi.proof import shortest_mate

        try:
            position = _set_up(self._position)
        except (SfenError, IllegalMoveError) as error:
            # The GUI's position is unknown, so a move would make no sense.
            yield say(f"invalid position: {error}")
            return _Answer("resign")
        rule = self._values["Declaration"]
        declaration = thinker.declaration if rule == "run" else cast("Rule", rule)
        if position.declaration(declaration) == "win":
            return _Answer("win")
        if not position.legal_moves():
            return _Answer("resign")
        assessment = thinker.assess(position)
        mate = shortest_mate(position, int(self._values["Mates"]))
        move = mate.move if mate else self._draw(assessment)
        after = Position(position.sfen())
        after.push(move)
        plies = 1 if not after.legal_moves() else mate and mate.moves
        score = f"mate {plies}" if plies else f"cp {centipawns(assessment.value)}"
        yield from _info_lines(assessment, move, score, int(self._values["MultiPV"]))
        return _Answer(move, 1.0 if plies else _win_rate(assessment.value))

    def _draw(self, assessment: Assessment) -> str:
        if self._values["Sampling"] == "false":
            return assessment.moves[0][0]
        moves, weights = zip(*assessment.moves, strict=True)
        return str(self._random.choices(moves, weights)[0])


def centipawns(value: float) -> int:
    """Convert a value, P(win) - P(loss), to a score for GUIs, from -5,526 to 5,526.

    The win rate, in which a draw counts as half a win, is 1 / (1 + exp(-score / 600)). Yamamoto
    found this formula in the games of his program Ponanza. Other programs use the formula, too.
    """
    rate = min(max(_win_rate(value), _LEAST_RATE), 1 - _LEAST_RATE)
    return round(600 * math.log(rate / (1 - rate)))


def _win_rate(value: float) -> float:
    return (1 + value) / 2


def _info_lines(assessment: Assessment, chosen: str, score: str, lines: int) -> Iterator[str]:
    """Yield ``info`` lines: first the chosen move with the score, then the best other moves.

    The other moves have no score, because the network values only the position, not each move.
    """
    others = [item for item in assessment.moves if item[0] != chosen]
    shown = [(chosen, dict(assessment.moves)[chosen]), *others[: lines - 1]]
    yield say(" ".join(["policy", *(f"{move} {share:.1%}" for move, share in shown)]))
    first = "multipv 1 " if lines > 1 else ""
    yield f"info depth 1 nodes 1 {first}score {score} pv {chosen}"
    for number, (move, _) in enumerate(shown[1:], 2):
        yield f"info depth 1 multipv {number} pv {move}"


def _set_up(words: list[str]) -> "Position":
    """Return the position that a ``position`` command sets. Raises SfenError, IllegalMoveError."""
    from keisei.shogi import Position
    from keisei.shogi.usi import read_line

    start, moves = read_line(" ".join(words))
    position = Position(start)
    for move in moves:
        position.push(move)
    return position


def say(text: str) -> str:
    """Return a line that the GUI shows to its user."""
    return f"info string {_plain(text)}"


def _plain(text: str) -> str:
    """Return the text as one line of ASCII, because some GUIs read only ASCII."""
    return printable(text).encode("ascii", "backslashreplace").decode()
