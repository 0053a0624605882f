"""Drive a USI engine: start it, ask it for moves, and handle its failures."""

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
"""Debian's package for each engine program. Such a program is often not in ``PATH``."""


class EngineError(Exception):
    """An engine failed. The message names the engine, and often quotes its standard error."""


class EngineStartError(EngineError):
    """The engine cannot start: wrong path, wrong option, or a program that is not an engine."""


class EngineTimeout(EngineError):
    """The engine did not answer in time."""


class EngineGone(EngineError):
    """The engine exited, crashed, closed its output, or was killed because it wrote too much."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that an engine has for each kind of answer."""

    usi: float = 10.0
    """Seconds from ``usi`` to ``usiok``. GUIs allow 2 to 10 seconds."""
    ready: float = 60.0
    """Seconds from ``isready`` to ``readyok``. Engines load their data in this time."""
    move: float = 60.0
    """Seconds for a move that is limited only by nodes or depth."""
    margin: float = 10.0
    """Seconds that are added to ``movetime`` or ``byoyomi``, because engines have low priority."""
    stop: float = 5.0
    """Seconds from ``stop`` to the move of an abandoned search."""
    quit: float = 1.0
    """Seconds from ``quit`` to the engine's exit. An engine that runs longer is killed."""


class Engine:
    """A running engine, as an async context manager. Only ``stop`` may be called by another task.

    The program runs at low priority in a process group of its own. At the end of the ``async with``
    block, this group is always killed. ``new_game`` and ``go`` can raise EngineTimeout and
    EngineGone. After EngineGone the engine is unusable. If a timeout or a cancellation ends ``go``
    early, the engine still sends a move. The next call waits for this late move and drops it.

    Args:
        spec: the program, its options and the limits of each move.
        timeouts: seconds to wait for each kind of answer.
    """

    def __init__(self, spec: EngineSpec, timeouts: Timeouts | None = None) -> None:
        self.spec = spec
        self.name = Path(spec.path).name
        """The name that the engine sent; until then, the name of the program's file."""
        self.author = ""
        self.options: dict[str, Option] = {}
        """The engine's options, by their names in lower case."""
        self.info: Info | None = None
        """The newest ``info`` with a score or a variation, from the current or the last search.

        An ``info`` is ignored if its variation is not the best one (MultiPV) or its score is only a
        bound."""
        self._timeouts = timeouts or Timeouts()
        self._greeted = False
        self._awaited: tuple[type[Message], asyncio.Future[Any]] | None = None
        self._lost: str | None = None
        self._owes_move = False

    async def __aenter__(self) -> Self:
        """Start the engine, set its options, and wait until the engine is ready.

        Raises:
            EngineStartError: the engine cannot be used. The message says why.
        """
        path = await anyio.to_thread.run_sync(find_engine, self.spec.path)
        try:
            self._child = await Child.start(path, self._handle_line, self._handle_gone)
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
        """Tell the engine to quit. If an exception ends the block, kill the engine at once."""
        self._handle_gone("was closed")
        if kind is None:
            self._child.listen()  # an engine blocked by a full pipe can't read "quit"
            self._child.send("quit")
        await self._child.close(self._timeouts.quit if kind is None else 0)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the program and of its ended children. Blocks.

        The result is 0 after the end of the program.
        """
        return self._child.cpu_seconds()

    async def new_game(self) -> None:
        """Tell the engine that a game begins, and wait until the engine is ready."""
        await self._drop_late_move()
        await self._request(ReadyOk, self._timeouts.ready, "isready")
        self._child.send("usinewgame")

    async def go(self, position: str) -> BestMove:
        """Return the engine's move, unchecked. The caller must check that the move is legal.

        Args:
            position: ``startpos moves 7g7f ...`` or ``sfen ... moves ...``. Give all moves from the
                start of the game, because engines need these moves to recognise repetitions.
        """
        await self._drop_late_move()
        limit = self.spec.seconds
        seconds = self._timeouts.move if limit is None else limit + self._timeouts.margin
        self.info = None
        try:
            return await self._request(BestMove, seconds, f"position {position}", self.spec.go)
        except EngineGone:
            raise
        except BaseException:
            self._owes_move = True
            self.stop()
            raise

    def stop(self) -> None:
        """Tell the engine to move now, so that a waiting ``go`` returns soon."""
        self._child.send("stop")

    def game_over(self, result: Literal["win", "lose", "draw"]) -> None:
        """Tell the engine whether it won, lost or drew the game."""
        self._child.send(f"gameover {result}")

    async def _greet(self) -> None:
        await self._request(UsiOk, self._timeouts.usi, "usi")
        self._greeted = True
        chosen = dict(self.spec.options)
        given = {name.lower() for name in chosen}
        # With these options on, the engine would compute during its opponent's turn.
        for name in ("USI_Ponder", "Ponder"):
            option = self.options.get(name.lower())
            if option and option.type == "check" and name.lower() not in given:
                chosen[name] = "false"
        self._child.send(*(self._option_command(name, value) for name, value in chosen.items()))
        await self._request(ReadyOk, self._timeouts.ready, "isready")

    def _option_command(self, name: str, value: str | None) -> str:
        """Return the command that sets an option. Raises EngineStartError."""
        option = self.options.get(name.lower())
        if option is None:
            raise EngineStartError(
                f"{self.name} has no option {name!r}{self._similar_options(name)}"
            )
        problem = option.problem_with(value)
        if problem:
            raise EngineStartError(f"{self.name}: option {option.name}: {problem}")
        return set_option(option.name, value)

    def _similar_options(self, name: str) -> str:
        """Return the end of an error message: similar options, or else up to 20 of all options."""
        near = difflib.get_close_matches(name.lower(), self.options, n=3, cutoff=0.5)
        names = [printable(self.options[each].name) for each in near or sorted(self.options)[:20]]
        if not names:
            return "; it has no options"
        return f"; {'similar options' if near else 'it has'}: {', '.join(names)}"

    async def _drop_late_move(self) -> None:
        """If the last search was abandoned, wait for its move, and drop this move."""
        if self._owes_move:
            await self._request(BestMove, self._timeouts.stop)
            self._owes_move = False

    async def _request(self, kind: type[_Answer], seconds: float, *commands: str) -> _Answer:
        """Send commands, wait for the answer to the last command, and return this answer."""
        if self._awaited is not None:
            raise RuntimeError(f"{self.name}: two tasks use this engine at once")
        if self._lost is not None:
            raise EngineGone(self._message(self._lost))
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
                self._message(f"did not answer {asked} within {seconds:g} s")
            ) from None
        finally:
            self._awaited = None
            self._child.pause()
        if answer is None:
            raise EngineGone(self._message(self._lost or "is gone"))
        return answer

    def _message(self, problem: str) -> str:
        last_words = self._child.last_words
        return f"{self.name} {problem}" + (f"; on stderr: {last_words}" if last_words else "")

    def _handle_line(self, line: str) -> None:
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

    def _handle_gone(self, reason: str) -> None:
        self._lost = self._lost or reason
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_result(None)


def find_engine(name: str) -> Path:
    """Find a program by its name or path, and return its path. Raises EngineStartError."""
    found = shutil.which(str(Path(name).expanduser()) if name.startswith("~/") else name)
    if found is None and "/" not in name:
        package = _DEBIAN.get(name)
        hint = f" (Debian: apt-get install {package} puts {name} in /usr/games)" if package else ""
        raise EngineStartError(f"{name}: no such program in PATH{hint}")
    if found is None:
        why = "not an executable file" if Path(name).exists() else "no such engine"
        raise EngineStartError(f"{name}: {why}")
    return Path(found).absolute()
