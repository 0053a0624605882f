"""Plays matches on the device thread. Each turn advances every match by a few plies."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.errors import NotRunning
from keisei.evaluation import Match, PlayedGame, Wanted
from keisei.evaluation.spec import CURRENT
from keisei.match_rules import Choice
from keisei.nets.policy import Agent
from keisei.play.mailbox import Command, PlyRequest, Reply, deliver
from keisei.play.networks import LoadedNetwork, Networks
from keisei.resources import player_folder

REPORT_SECONDS = 0.25
"""Seconds between two reports of a match."""
LOCAL_PLIES = 16
"""Maximum number of plies in one turn while only local players are to move in a match."""

Batch = list[tuple[int, Wanted, NDArray[np.bool_]]]
"""Requests of several matches to one network.

Each entry contains a match's index, the match's request, and a mask that marks the request's rows
for this network.
"""


@dataclass(slots=True, eq=False)
class Job:
    """A match in progress between networks or local players."""

    match: Match
    networks: tuple[LoadedNetwork | None, LoadedNetwork | None]
    """Networks of agent and opponent; None stands for a local player."""
    on_games: Callable[[list[PlayedGame]], None]
    """Function that gets the games that ended since its last call. Called on the event loop."""
    finished: Reply[None] = field(default_factory=Reply)
    reported: int = 0
    """Number of games that were passed to ``on_games``."""
    report_due: float = 0.0

    def report(self) -> None:
        """Pass the games that ended since the last report to ``on_games``. Device thread only."""
        games = self.match.played[self.reported :]
        if games:
            self.reported = len(self.match.played)
            self.finished.loop.call_soon_threadsafe(self.on_games, games)


@dataclass(frozen=True, slots=True, eq=False)
class OpenNetwork(Command):
    """Load a network. The answer is a ``LoadedNetwork``."""

    source: str
    """Source of the network: ``current``, or the path of a run or checkpoint."""


@dataclass(frozen=True, slots=True, eq=False)
class CloseNetwork(Command):
    """Unload a network."""

    id: int


@dataclass(frozen=True, slots=True, eq=False)
class PlayMatch(Command):
    """Begin a match. ``job.finished`` gets its answer when the match ends."""

    job: Job


@dataclass(frozen=True, slots=True, eq=False)
class EndMatch(Command):
    """End a match early. Does nothing if the match has already ended."""

    job: Job


MatchCommand = OpenNetwork | CloseNetwork | PlayMatch | EndMatch


class Matches:
    """Plays matches turn by turn. Device thread only.

    If a match fails, the error is raised only for the caller that waits for this match.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._jobs: list[Job] = []

    @property
    def running(self) -> bool:
        """Whether a match is in progress."""
        return bool(self._jobs)

    def obey(self, command: MatchCommand, live: Agent | None = None, step: int = 0) -> None:
        """Carry out a command and set the command's answer. Never raises.

        ``live`` is the network for the source ``current``; it was trained for ``step`` steps.
        """
        answer: LoadedNetwork | None = None
        try:
            match command:
                case OpenNetwork(source=source) if source == CURRENT and live is not None:
                    answer = self._networks.copy_weights(live, step)
                case OpenNetwork(source=source):
                    answer = self._networks.load(player_folder(source))
                case CloseNetwork(id=id):
                    self._networks.close(id)
                case PlayMatch(job=job):
                    self._jobs.append(job)
                case EndMatch(job=job) if job in self._jobs:
                    self._end(job)
        except Exception as error:  # noqa: BLE001 (the error becomes the command's answer)
            command.finished.fail(error)
        else:
            command.finished.set(answer)

    def turn(self, requests: list[PlyRequest]) -> None:
        """Advance every match, then answer the requests for single moves.

        Networks play at most one ply per game. While no network is to move in a match, local
        players play up to ``LOCAL_PLIES`` plies.
        """
        wanted: list[tuple[Job, Wanted]] = []
        for job in list(self._jobs):
            try:
                found = job.match.request(LOCAL_PLIES)
            except Exception as error:  # noqa: BLE001 (the error becomes the match's result)
                self._fail(job, error)
                continue
            if found is None:
                self._end(job)
            else:
                wanted.append((job, found))
        self._play(wanted)
        self._answer(requests)

    def close(self) -> None:
        """End all matches with the error NotRunning, and unload all networks."""
        for job in list(self._jobs):
            self._fail(job, NotRunning("the run ended"))
        self._networks.close_all()

    def _play(self, wanted: list[tuple[Job, Wanted]]) -> None:
        """Answer the requests of matches: one batch for each pair of network and ``Choice``."""
        batches: dict[tuple[int, Choice], Batch] = {}
        for index, (job, found) in enumerate(wanted):
            for side, network in enumerate(job.networks):
                rows = found.opponents == bool(side)
                if network is not None and rows.any():
                    key = network.id, job.match.spec.choice
                    batches.setdefault(key, []).append((index, found, rows))
        actions = [np.zeros(len(found.mask), np.int16) for _, found in wanted]
        values = [np.zeros(len(found.mask), np.float32) for _, found in wanted]
        failed: dict[int, Exception] = {}
        for (id, choice), batch in batches.items():
            try:
                self._ask(id, choice, batch, actions, values)
            except Exception as error:  # noqa: BLE001 (the error becomes these matches' result)
                failed |= {index: error for index, _, _ in batch}
        for index, (job, _) in enumerate(wanted):
            if index in failed:
                self._fail(job, failed[index])
            else:
                self._advance(job, actions[index], values[index])

    def _ask(
        self,
        id: int,
        choice: Choice,
        batch: Batch,
        actions: list[NDArray[np.int16]],
        values: list[NDArray[np.float32]],
    ) -> None:
        """Write the answers of one network into ``actions`` and ``values``."""
        chosen, expected = self._networks.choose(
            id,
            np.concatenate([found.observation[rows] for _, found, rows in batch]),
            np.concatenate([found.mask[rows] for _, found, rows in batch]),
            np.concatenate([found.draw[rows] for _, found, rows in batch]),
            choice,
        )
        ends = np.cumsum([rows.sum() for _, _, rows in batch])[:-1]
        parts = zip(batch, np.split(chosen, ends), np.split(expected, ends), strict=True)
        for (index, _, rows), moves, worth in parts:
            actions[index][rows], values[index][rows] = moves, worth

    def _advance(self, job: Job, actions: NDArray[np.int16], values: NDArray[np.float32]) -> None:
        """Play the chosen moves in a match. If a report is due, report the games that ended."""
        try:
            job.match.answer(actions, values)
        except Exception as error:  # noqa: BLE001 (the error becomes the match's result)
            self._fail(job, error)
            return
        if time.monotonic() >= job.report_due:
            job.report_due = time.monotonic() + REPORT_SECONDS
            job.report()

    def _answer(self, requests: list[PlyRequest]) -> None:
        """Answer requests for moves. Requests with equal network and ``Choice`` share a batch."""
        groups: dict[tuple[int, Choice], list[PlyRequest]] = {}
        for request in requests:
            groups.setdefault((request.network, request.rules.choice), []).append(request)
        for (id, choice), group in groups.items():
            answers: Iterable[Any]
            try:
                actions, values = self._networks.choose(
                    id,
                    np.concatenate([request.observation for request in group]),
                    np.concatenate([request.mask for request in group]),
                    np.array([request.draw for request in group], np.float32),
                    choice,
                )
                answers = zip(actions.tolist(), values.tolist(), strict=True)
            except Exception as error:  # noqa: BLE001 (the requests get the error as their answer)
                answers = [error] * len(group)
            deliver((request.answer, found) for request, found in zip(group, answers, strict=True))

    def _end(self, job: Job) -> None:
        self._jobs.remove(job)
        job.report()
        job.finished.set(None)

    def _fail(self, job: Job, error: Exception) -> None:
        self._jobs.remove(job)
        job.report()
        job.finished.fail(error)
