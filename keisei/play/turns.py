"""Matches on the device thread: one ply of all of them at a time, beside training."""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from keisei.config import Env
from keisei.errors import NotRunning
from keisei.evaluation import Match, PlayedGame, Wanted
from keisei.evaluation.spec import CURRENT
from keisei.play.mailbox import Command, Ply, Reply, deliver

TELL_SECONDS = 0.25
"""Between two reports of a match."""
LOCAL_PLIES = 16
"""Plies that players without a network make in one turn."""
BATCH = 4096
Moves = tuple[NDArray[np.int16], NDArray[np.float32]]


class Agent(Protocol):
    """A network ready to answer (``keisei.nets.policy.Agent``)."""

    def choose(
        self,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        *,
        greedy: bool = False,
        draw: NDArray[np.float32] | None = None,
    ) -> Moves:
        """Moves and values of positions."""

    def snapshot(self) -> "Agent":
        """A copy that training does not touch."""

    @property
    def nbytes(self) -> int:
        """Of its weights."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that lies ready on the device thread."""

    id: int
    name: str
    """``<run>@<step>``: these weights."""
    step: int
    max_ply: int
    """Of its training games: it sees the ply as a share of that."""
    home: Path = Path()
    """The run that it comes from: another one may have the same name."""


@dataclass(slots=True, eq=False)
class Job:
    """A match of networks and local players."""

    match: Match
    networks: tuple[Network | None, Network | None]
    """Agent's and opponent's; None where that is a local player."""
    greedy: bool
    tell: Callable[[list[PlayedGame]], None]
    """Called on the loop with the games that have ended since the last call."""
    finished: Reply[None] = field(default_factory=Reply)
    told: int = 0
    due: float = 0.0

    def report(self) -> None:
        """From the device thread: tell of new games, all in one call."""
        games = self.match.played[self.told :]
        if games:
            self.told = len(self.match.played)
            self.finished.loop.call_soon_threadsafe(self.tell, games)


class Matches:
    """Networks besides the one that is trained, and their matches. On the device thread.

    An error in a match is that one's result, and never leaves here.
    """

    def __init__(
        self,
        run: str,
        env: Env,
        device: str,
        alert: Callable[[str, str, str], None],
        *,
        memory_mib: float = math.inf,
        batch: int = BATCH,
    ) -> None:
        """``env``: of the run's training games; ``alert(name, level, text)`` warns; ``memory_mib``:
        for networks' weights; ``batch``: most positions asked at once.
        """
        self._run, self._env, self._device, self._alert = run, env, device, alert
        self._memory = memory_mib
        self._ids = itertools.count()
        self._agents: dict[int, Agent] = {}
        self._jobs: list[Job] = []
        self._batch = batch

    @property
    def running(self) -> bool:
        """Whether a match wants a turn."""
        return bool(self._jobs)

    def obey(self, command: Command, live: Agent | None = None, step: int = 0) -> None:
        """Do what is asked of matches: open, close, play, end. Never raises.

        ``live``: what ``current`` names, which has trained ``step`` steps.
        """
        payload, answer = command.payload, None
        try:
            match command.kind:
                case "open":
                    answer = self._open(payload, live, step)
                case "close":
                    self._agents.pop(payload, None)
                case "play":
                    self._jobs.append(payload)
                case "end" if payload in self._jobs:
                    self._end(payload)
        except Exception as error:  # noqa: BLE001 (it belongs to who asked)
            command.finished.fail(error)
        else:
            command.finished.set(answer)

    def _open(self, source: str, live: Agent | None, step: int) -> Network:
        id = next(self._ids)
        if source == CURRENT and live is not None:
            self._room(live.nbytes)
            self._agents[id] = live.snapshot()
            return Network(id, f"{self._run}@{step}", step, self._env.max_ply)
        from keisei.play.players import load_within

        player = load_within(Path(source), self._device, self._room)
        self._agents[id] = player.agent
        return Network(id, player.name, player.step, player.max_ply, player.home)

    def _room(self, nbytes: int) -> None:
        """Raises MemoryError: there is none for so many bytes beside the other networks."""
        loaded = sum(other.nbytes for other in self._agents.values()) / 2**20
        more = nbytes / 2**20
        if loaded + more > self._memory:
            raise MemoryError(
                f"evaluation.memory_mib: {self._memory}; the networks of evaluations take "
                f"{loaded:.1f} MiB, and this one {more:.1f} more"
            )

    def _end(self, job: Job) -> None:
        self._jobs.remove(job)
        job.report()
        job.finished.set(None)

    def turn(self, asked: list[Ply]) -> None:
        """One ply of every match, and single moves: a batch for each network."""
        wanted: list[tuple[Job, Wanted]] = []
        for job in list(self._jobs):
            try:
                found = job.match.request(LOCAL_PLIES)
            except Exception as error:  # noqa: BLE001 (it becomes the match's result)
                self._fail([job], error)
                continue
            if found is None:
                self._end(job)
            else:
                wanted.append((job, found))
        self._play(wanted)
        self._answer(asked)

    def close(self) -> None:
        """End everything: whoever waits for a match gets NotRunning."""
        self._fail(list(self._jobs), NotRunning("the run ended"))
        self._agents.clear()

    def _play(self, wanted: list[tuple[Job, Wanted]]) -> None:
        """Answer the matches' requests; those with the same network in one batch."""
        parts: dict[tuple[int, bool], list[tuple[int, Wanted, NDArray[np.bool_]]]] = {}
        actions = [np.zeros(len(found.mask), np.int16) for _, found in wanted]
        values = [np.zeros(len(found.mask), np.float32) for _, found in wanted]
        for index, (job, found) in enumerate(wanted):
            for side, network in enumerate(job.networks):
                rows = found.opponents == bool(side)
                if network is not None and rows.any():
                    parts.setdefault((network.id, job.greedy), []).append((index, found, rows))
        failed: dict[int, Exception] = {}
        for (id, greedy), asked in parts.items():
            try:
                chosen, value = self._choose(
                    id,
                    np.concatenate([found.observation[rows] for _, found, rows in asked]),
                    np.concatenate([found.mask[rows] for _, found, rows in asked]),
                    np.concatenate([found.draw[rows] for _, found, rows in asked]),
                    greedy=greedy,
                )
            except Exception as error:  # noqa: BLE001 (it becomes these matches' result)
                failed |= {index: error for index, _, _ in asked}
                continue
            ends = np.cumsum([rows.sum() for _, _, rows in asked])[:-1]
            for (index, _, rows), some, their in zip(
                asked, np.split(chosen, ends), np.split(value, ends), strict=True
            ):
                actions[index][rows], values[index][rows] = some, their
        for index, (job, _) in enumerate(wanted):
            if index in failed:
                self._fail([job], failed[index])
            else:
                self._advance(job, actions[index], values[index])

    def _advance(self, job: Job, actions: NDArray[np.int16], values: NDArray[np.float32]) -> None:
        try:
            job.match.answer(actions, values)
        except Exception as error:  # noqa: BLE001 (it becomes the match's result)
            self._fail([job], error)
        if time.monotonic() >= job.due:
            job.due = time.monotonic() + TELL_SECONDS
            job.report()

    def _answer(self, asked: list[Ply]) -> None:
        groups: dict[tuple[int, bool], list[Ply]] = {}
        for ply in asked:
            groups.setdefault((ply.network, ply.greedy), []).append(ply)
        for (id, greedy), plies in groups.items():
            answers: Iterable[Any]
            try:
                actions, values = self._choose(
                    id,
                    np.concatenate([ply.observation for ply in plies]),
                    np.concatenate([ply.mask for ply in plies]),
                    np.array([ply.draw for ply in plies], np.float32),
                    greedy=greedy,
                )
                answers = zip(actions.tolist(), values.tolist(), strict=True)
            except Exception as error:  # noqa: BLE001 (it belongs to those who asked)
                answers = [error] * len(plies)
            deliver((ply.answer, found) for ply, found in zip(plies, answers, strict=True))

    def _choose(
        self,
        id: int,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        draw: NDArray[np.float32],
        *,
        greedy: bool,
    ) -> Moves:
        """Moves and values; out of memory halves the batch."""
        agent = self._agents[id]
        while True:
            parts = [slice(low, low + self._batch) for low in range(0, len(mask), self._batch)]
            try:
                found = [
                    agent.choose(observation[p], mask[p], greedy=greedy, draw=draw[p])
                    for p in parts
                ]
            except torch.OutOfMemoryError:
                if min(self._batch, len(mask)) == 1:
                    raise
                self._batch = min(self._batch, len(mask)) // 2
                torch.cuda.empty_cache()
                self._alert("evaluation_memory", "warning", f"out of memory: batch {self._batch}")
            else:
                actions, values = zip(*found, strict=True)
                return np.concatenate(actions), np.concatenate(values)

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        for job in jobs:
            self._jobs.remove(job)
            job.report()
            job.finished.fail(error)
