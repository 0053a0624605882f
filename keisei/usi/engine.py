"""Engine: a program that plays shogi, driven by USI, whatever it does."""

import asyncio
import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import anyio
import anyio.to_thread

from keisei.usi.child import Child
from keisei.usi.protocol import (
    BestMove,
    Identity,
    Info,
    Message,
    Option,
    ReadyOk,
    UsiOk,
    parse,
    printable,
    set_option,
)
from keisei.usi.spec import EngineSpec

_Answer = TypeVar("_Answer", UsiOk, ReadyOk, BestMove)
_DEBIAN = {"fairy-stockfish": "fairy-stockfish", "gpsusi": "gpsshogi"}
"""Packages of engines, which Debian puts where ``PATH`` often doesn't look."""


class EngineError(Exception):
    """An engine does not do what it should. The message names it and holds its last words."""


class EngineStartError(EngineError):
    """It cannot be started as asked: no such program, not USI, an option that it does not have."""


class EngineTimeout(EngineError):
    """It did not answer in time."""


class EngineGone(EngineError):
    """It exited, crashed, closed its output, or was stopped for flooding us."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that an engine has for its answers."""

    usi: float = 10.0
    """To name its options; GUIs give 2 to 10."""
    ready: float = 60.0
    """To load what it needs."""
    move: float = 60.0
    """For a move that only work (nodes, depth) bounds."""
    margin: float = 10.0
    """For a move beyond its ``movetime`` or ``byoyomi``: it runs at low priority."""
    stop: float = 5.0
    """To end a search that was given up."""
    quit: float = 1.0
    """To leave by itself."""


class Engine:
    """A running engine; an async context manager. For one task at a time, except ``stop``.

    The program runs niced, in a process group of its own that is killed on leaving the block,
    however it is left. Any method may raise EngineTimeout or EngineGone; after the latter the
    engine is of no more use. A search that was given up, by a timeout or cancellation, is ended
    before the next command, and its late answer thrown away.

    Args:
        spec: which program, its options, and what bounds each move.
        timeouts: in seconds.
    """

    def __init__(self, spec: EngineSpec, timeouts: Timeouts | None = None) -> None:
        self.spec = spec
        self.name = Path(spec.path).name
        """As the engine calls itself, once it has; until then its file."""
        self.author = ""
        self.options: dict[str, Option] = {}
        """What can be set, by name in lower case."""
        self.info: Info | None = None
        """The last ``info`` with a score or a line of the search now running or just ended: of the
        best line, not of the others of MultiPV, and no bound."""
        self._timeouts = timeouts or Timeouts()
        self._greeted = False
        self._awaited: tuple[type[Message], asyncio.Future[Any]] | None = None
        self._lost: str | None = None
        self._owes_move = False

    async def __aenter__(self) -> Self:
        """Start it, set its options, and wait until it is ready.

        Raises:
            EngineStartError: it can't be used; the message says why.
        """
        path = await anyio.to_thread.run_sync(find_engine, self.spec.path)
        try:
            self._child = await Child.start(path, self._hear, self._lose)
        except OSError as error:
            raise EngineStartError(f"{path}: cannot be started: {error.strerror}") from error
        try:
            await self._greet()
        except (EngineTimeout, EngineGone) as error:
            await self._child.close()
            raise EngineStartError(f"{error} (is it a USI engine?)") from error
        except BaseException:
            await self._child.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask it to quit, or kill it at once if the block was left by an exception."""
        self._lose("was closed")
        if kind is None:
            self._child.listen()  # one that is stuck in writing would not read
            self._child.send("quit")
        await self._child.close(self._timeouts.quit if kind is None else 0)

    def cpu_seconds(self) -> float:
        """Processor time of the program and of what it has waited for; 0 once it is gone. Blocking."""
        return self._child.cpu_seconds()

    async def new_game(self) -> None:
        """Tell it that a game begins."""
        await self._settle()
        await self._ask(ReadyOk, self._timeouts.ready, "isready")
        self._child.send("usinewgame")

    async def go(self, position: str) -> BestMove:
        """Its move, as it writes it: whether that is legal is for the caller to find out.

        Args:
            position: ``startpos moves 7g7f ...`` or ``sfen ... moves ...``, from the game's start:
                engines find repetitions by it.
        """
        await self._settle()
        limit = self.spec.seconds
        seconds = self._timeouts.move if limit is None else limit + self._timeouts.margin
        self.info = None
        try:
            return await self._ask(BestMove, seconds, f"position {position}", self.spec.go)
        except EngineGone:
            raise
        except BaseException:
            self._owes_move = True
            self.stop()
            raise

    def stop(self) -> None:
        """Have it move now: a waiting ``go`` returns soon."""
        self._child.send("stop")

    def game_over(self, result: Literal["win", "lose", "draw"]) -> None:
        """Tell it how its game ended."""
        self._child.send(f"gameover {result}")

    async def _greet(self) -> None:
        await self._ask(UsiOk, self._timeouts.usi, "usi")
        self._greeted = True
        chosen = dict(self.spec.options)
        given = {name.lower() for name in chosen}
        for name in ("USI_Ponder", "Ponder"):  # it would think in its opponent's time
            option = self.options.get(name.lower())
            if option and option.type == "check" and name.lower() not in given:
                chosen[name] = "false"
        self._child.send(*(self._set(name, value) for name, value in chosen.items()))
        await self._ask(ReadyOk, self._timeouts.ready, "isready")

    def _set(self, name: str, value: str | None) -> str:
        """The command that sets an option of the engine's. Raises EngineStartError."""
        option = self.options.get(name.lower())
        if option is None:
            raise EngineStartError(f"{self.name} has no option {name!r}{self._near(name)}")
        wrong = option.refuses(value)
        if wrong:
            raise EngineStartError(f"{self.name}: option {option.name}: {wrong}")
        return set_option(option.name, value)

    def _near(self, name: str) -> str:
        near = difflib.get_close_matches(name.lower(), self.options, n=3, cutoff=0.5)
        names = [printable(self.options[each].name) for each in near or sorted(self.options)[:20]]
        if not names:
            return ", and no other"
        return f"; near it: {', '.join(names)}" if near else f", only {', '.join(names)}"

    async def _settle(self) -> None:
        """Wait for the end of a search that was given up."""
        if self._owes_move:
            await self._ask(BestMove, self._timeouts.stop)
            self._owes_move = False

    async def _ask(self, kind: type[_Answer], seconds: float, *commands: str) -> _Answer:
        """Send commands and wait for the answer to the last."""
        if self._awaited is not None:
            raise RuntimeError(f"{self.name} is asked by two tasks at once")
        if self._lost is not None:
            raise EngineGone(self._told(self._lost))
        future: asyncio.Future[_Answer | None] = asyncio.get_running_loop().create_future()
        self._awaited = kind, future
        self._child.listen()
        self._child.send(*commands)
        try:
            with anyio.fail_after(seconds):
                answer = await future
        except TimeoutError:
            asked = f"{commands[-1]!r}" if commands else "'stop'"
            raise EngineTimeout(
                self._told(f"did not answer {asked} within {seconds:g} s")
            ) from None
        finally:
            self._awaited = None
            self._child.pause()
        if answer is None:
            raise EngineGone(self._told(self._lost or "is gone"))
        return answer

    def _told(self, what: str) -> str:
        said = self._child.last_words
        return f"{self.name} {what}" + (f"; its last words: {said}" if said else "")

    def _hear(self, line: str) -> None:
        message = parse(line)
        match message:
            case Identity(field="name", value=name) if not self._greeted:
                self.name = name or self.name
            case Identity(field="author", value=author) if not self._greeted:
                self.author = author
            case Option() if not self._greeted:
                self.options[message.name.lower()] = message
            case Info(best=True) if message.pv or (message.cp, message.mate) != (None, None):
                self.info = message
        if self._awaited is not None and isinstance(message, self._awaited[0]):
            future = self._awaited[1]
            if not future.done():
                future.set_result(message)

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_result(None)


def find_engine(name: str) -> Path:
    """The program of that name or path. Raises EngineStartError."""
    found = shutil.which(str(Path(name).expanduser()) if name.startswith("~/") else name)
    if found is None and "/" not in name:
        package = _DEBIAN.get(name)
        hint = f" (Debian: apt-get install {package} puts it in /usr/games)" if package else ""
        raise EngineStartError(f"{name}: not in PATH{hint}")
    if found is None:
        why = "is not a program that may be run" if Path(name).exists() else "no such engine"
        raise EngineStartError(f"{name}: {why}")
    return Path(found).absolute()
