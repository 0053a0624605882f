"""Answer the commands of a shogi GUI as a USI engine.

Sources: the USI specification with Shogidokoro's extensions (hgm.nubati.net/usi.html), and the
behaviour of ShogiHome. ShogiHome ignores options with a space in the name, always sets ``USI_Hash``
and ``USI_Ponder``, and sends ``go`` immediately after ``usinewgame``.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from keisei.usi.limits import Limits
from keisei.usi.options import OPTIONS, Options
from keisei.usi.report import plain, say
from keisei.usi.turn import Turn

if TYPE_CHECKING:
    from keisei.usi.mover import Mover, Thinker


class Session:
    """A session with a GUI, which two threads share.

    One thread reads the GUI's lines and calls ``hear``, which never waits. The other thread calls
    ``work``: it thinks, and only it uses the network.

    Args:
        name: the engine's name.
        load: function that returns the network for a device and a number of CPU threads. The first
            ``isready`` or ``go`` calls ``load``. ``usi`` does not, because a GUI expects the answer
            to ``usi`` at once. A later ``isready`` or ``go`` calls ``load`` again if the device or
            the number of threads has changed.
        openings: see ``keisei.usi.mover.Mover``.
        send: function that sends a line to the GUI.
    """

    def __init__(
        self,
        name: str,
        load: "Callable[[str, int], Thinker]",
        openings: Callable[[str], Sequence[str]],
        send: Callable[[str], None],
    ) -> None:
        self._name = name
        self._made_of = load, openings
        self._write, self._writing = send, threading.Lock()
        self._mover: Mover | None = None
        self._options = Options()
        self._position = ["startpos"]
        self._turn: Turn | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def work(self) -> None:
        """Do what the GUI wants until the session is over. Raises what ``load`` raises."""
        while (job := self._jobs.get()) is not None:
            job()

    def hear(self, line: str) -> bool:
        """Answer a line, or let ``work`` answer it. Return False if it is ``quit``."""
        word, *words = line.split() or [""]
        match word:
            case "usi":
                self._introduce()
            case "isready":
                self._ready()
            case "setoption":
                self._set_option(" ".join(words))
            case "position":
                self._position = words
            case "go":
                self._go(words)
            case "stop":
                self._stop()
            case "ponderhit":
                self._ponderhit(words)
            case "usinewgame" | "gameover":
                self._stop()
                self._jobs.put(lambda: self._player().begin_game())
            case "quit":
                self._stop()
                return False
            case _ if word:
                self._send(say(f"unknown command: {word}"))
        return True

    def close(self) -> None:
        """End the session: no more lines come. ``work`` still finishes what the GUI has asked."""
        if self._turn:
            self._turn.hang_up()
        self._jobs.put(None)

    def _introduce(self) -> None:
        self._send(f"id name {plain(self._name)}")
        self._send("id author Keisei contributors")
        for option in OPTIONS:
            words = [f"option name {option.name} type {option.type} default {option.default}"]
            if option.type == "spin":
                words.append(f"min {option.low} max {option.high}")
            words += [f"var {choice}" for choice in option.choices]
            self._send(" ".join(words))
        self._send("usiok")

    def _set_option(self, text: str) -> None:
        problem = self._options.set(text)
        if problem:
            self._send(say(problem))

    def _ready(self) -> None:
        if self._turn and not self._turn.done:  # it thinks, so it is ready
            self._send("readyok")
            return
        options = self._options.copy()
        self._jobs.put(lambda: self._prepare(options))

    def _prepare(self, options: Options) -> None:
        self._player().prepare(options)
        self._send("readyok")
        if self._turn:  # a ``go`` that came too early has no less time for that
            self._turn.begin()

    def _go(self, words: list[str]) -> None:
        self._stop()  # the ``go`` before may still need its ``bestmove``
        turn = Turn(Limits.parse(words), self._position, self._options.copy())
        self._turn = turn
        self._jobs.put(lambda: self._player().answer(turn))

    def _stop(self) -> None:
        if self._turn:
            self._turn.stop()

    def _ponderhit(self, words: list[str]) -> None:
        if self._turn:
            self._turn.ponderhit(words)

    def _player(self) -> "Mover":
        """Return the mover. Only the working thread calls this."""
        if self._mover is None:
            # This import loads Numba, which takes seconds. ``usi`` is answered without this wait.
            from keisei.usi.mover import Mover

            self._mover = Mover(*self._made_of, self._send)
        return self._mover

    def _send(self, line: str) -> None:
        with self._writing:
            self._write(line)
