"""A GUI for tests: a session of the engine with a network that needs no torch."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from keisei.env import legal_lists
from keisei.shogi.position import Rule
from keisei.usi.server import Session

SECONDS = 55.0
"""Longest wait for an answer."""
COMPILE_SECONDS = 280.0
"""Longest wait for a session that compiles the rules, the search and the solver first."""


class Fake:
    """A network that prefers moves in the order of their actions, and has one value for all."""

    about = "a fake"
    max_ply = 256

    def __init__(self, value: float = 0.0) -> None:
        self.value = value
        self.declaration: Rule = "27"
        self.seen: list[np.ndarray[Any, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def assess(self, observation: Any, mask: Any) -> tuple[Any, Any, Any]:
        assert self.may_answer.wait(SECONDS)
        self.seen.append(observation)
        actions, _ = legal_lists(mask, multiple=32)
        priors = np.where(actions >= 0, 0.5 ** np.arange(1, actions.shape[1] + 1), 0)
        return actions, priors.astype(np.float32), np.full(len(actions), self.value, np.float32)


class Gui:
    """Says lines to a session, and collects the answers."""

    def __init__(self, value: float = 0.0, openings: Sequence[str] = ()) -> None:
        self.network = Fake(value)
        self.openings = openings
        self.loads: list[tuple[str, int]] = []
        self.answers: queue.Queue[str] = queue.Queue()
        self.session = Session("Keisei 1.0 (run)", self._load, self._book, self.answers.put)
        self._thread = threading.Thread(target=self.session.work, daemon=True)
        self._thread.start()

    def _load(self, device: str, threads: int) -> Fake:
        self.loads.append((device, threads))
        return self.network

    def _book(self, file: str) -> Sequence[str]:
        if file:
            raise ValueError(f"{file}: no such file")
        return self.openings

    def say(self, *lines: str) -> None:
        for line in lines:
            self.session.hear(line)

    def set(self, **options: object) -> None:
        self.say(*(f"setoption name {name} value {value}" for name, value in options.items()))

    def until(self, first_word: str) -> list[str]:
        """Return all answers up to one with this first word."""
        answers = [self.answers.get(timeout=SECONDS)]
        while answers[-1].split()[0] != first_word:
            answers.append(self.answers.get(timeout=SECONDS))
        return answers

    def ask(self, *lines: str) -> list[str]:
        """Say lines whose last one is ``go``; return the answers up to the move."""
        self.say(*lines)
        return self.until("bestmove")

    def move(self, *lines: str) -> str:
        """Return the move that answers the lines."""
        return self.ask(*lines)[-1].split()[1]

    def rest(self) -> list[str]:
        """End the session; return the answers that are left."""
        self.session.close()
        self._thread.join(COMPILE_SECONDS)
        assert not self._thread.is_alive()
        return [self.answers.get() for _ in range(self.answers.qsize())]


def compile_search() -> None:
    """Compile everything once. Otherwise the first of the tests would have to wait."""
    gui = Gui()
    gui.say("isready", "position startpos moves 7g7f", "go nodes 20")
    gui.rest()


@contextmanager
def playing(value: float = 0.0, openings: Sequence[str] = ()) -> Iterator[Gui]:
    """A GUI whose engine is ready."""
    gui = Gui(value, openings)
    gui.say("isready")
    gui.until("readyok")
    yield gui
    gui.say("quit")
    gui.rest()
