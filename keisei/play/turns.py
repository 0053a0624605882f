"""Plays matches on the device thread. Each turn advances every match by a few plies."""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.config import Env
from keisei.errors import NotRunning
from keisei.evaluation import Match, PlayedGame, Wanted
from keisei.evaluation.spec import CURRENT
from keisei.match_rules import Choice
from keisei.nets.policy import Agent
from keisei.play.mailbox import Command, MoveRequest, PlyRequest, Reply, deliver
from keisei.play.match_trees import GameTree, MatchTrees
from keisei.play.moves import choose_moves
from keisei.play.networks import LoadedNetwork, Networks
from keisei.play.searches import Searches, Thought
from keisei.play.thinking import found_move
from keisei.resources import player_folder
from keisei.search import Search

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
    ply: "_Ply | None" = None
    """The ply that is being searched; None if the match waits for no search."""
    reported: int = 0
    """Number of games that were passed to ``on_games``."""
    report_due: float = 0.0

    trees: MatchTrees = field(init=False)
    """The search trees of the match."""

    def __post_init__(self) -> None:
        self.trees = MatchTrees(self.match.spec)

    def report(self) -> None:
        """Pass the games that ended since the last report to ``on_games``. Device thread only."""
        games = self.match.played[self.reported :]
        if games:
            self.reported = len(self.match.played)
            self.finished.loop.call_soon_threadsafe(self.on_games, games)


@dataclass(slots=True, eq=False)
class _Ply:
    """The moves of one ply of a match, while they are being chosen."""

    wanted: Wanted
    actions: NDArray[np.int16]
    values: NDArray[np.float32]
    searching: list[Search]
    """Searches that have not ended."""


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
        self._searches = Searches(networks.assess)
        self._jobs: list[Job] = []

    @property
    def running(self) -> bool:
        """Whether a match, or a search for a move, is in progress."""
        return bool(self._jobs) or self._searches.running

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
        """Advance every match and every search, then answer the requests for single moves.

        Networks play at most one ply per game. A ply that is searched takes several turns: in each,
        all searches get one answer of the network. While no network is to move in a match, local
        players play up to ``LOCAL_PLIES`` plies.
        """
        wanted: list[tuple[Job, Wanted]] = []
        for job in [job for job in self._jobs if job.ply is None]:
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
        self._searches.turn()

    def answer_moves(self, requests: list[MoveRequest], env: Env, live: Agent) -> None:
        """Answer requests for single moves, and begin the searches that they ask for.

        ``live`` is the network in training. Each turn asks the network of a search once.
        """
        self._networks.live = live
        at_once = [request for request in requests if request.search is None]
        deliver(choose_moves(self._networks.agent, env, at_once))
        for request in requests:
            if request.search is not None:
                finish = partial(_answer_move, request, request.search)
                self._searches.add(
                    Thought(request.search, request.network, finish, request.deadline)
                )

    def close(self) -> None:
        """End all matches with the error NotRunning, and unload all networks."""
        ended = NotRunning("the run ended")
        for job in list(self._jobs):
            self._fail(job, ended)
        self._searches.close(ended)
        self._networks.close_all()

    def _play(self, wanted: list[tuple[Job, Wanted]]) -> None:
        """Answer the requests of matches: one batch for each pair of network and ``Choice``.

        For players that search, begin the searches.
        """
        batches: dict[tuple[int, Choice], Batch] = {}
        for index, (job, found) in enumerate(wanted):
            for side, network in enumerate(job.networks):
                rows, options = found.opponents == bool(side), job.match.spec.options[side]
                if network is not None and rows.any() and not options.searches:
                    key = network.id, options.choice(job.match.spec)
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
                job.ply = _Ply(wanted[index][1], actions[index], values[index], [])
                self._search(job, job.ply)

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

    def _search(self, job: Job, ply: _Ply) -> None:
        """Begin the searches for the moves of a ply; if there are none, play the ply."""
        try:
            begun = job.trees.begin(ply.wanted)
        except Exception as error:  # noqa: BLE001 (the error becomes the match's result)
            self._fail(job, error)
            return
        ply.searching = [search for _, search in begun]
        for side, search in begun:
            network = job.networks[side]
            if network is not None:
                self._searches.add(
                    Thought(search, network.id, partial(self._searched, job, ply, search))
                )
        if not begun:
            self._advance(job, ply)

    def _searched(self, job: Job, ply: _Ply, search: Search, error: Exception | None) -> None:
        """Take note that a search of a match has ended. After the last one, play the ply."""
        ply.searching.remove(search)
        if job not in self._jobs:
            return
        if error is not None:
            self._fail(job, error)
        elif not ply.searching:
            self._advance(job, ply)

    def _advance(self, job: Job, ply: _Ply) -> None:
        """Play the chosen moves in a match. If a report is due, report the games that ended."""
        job.ply = None
        try:
            job.trees.choose(ply.wanted, ply.actions, ply.values)
            job.match.answer(ply.actions, ply.values)
        except Exception as error:  # noqa: BLE001 (the error becomes the match's result)
            self._fail(job, error)
            return
        if time.monotonic() >= job.report_due:
            job.report_due = time.monotonic() + REPORT_SECONDS
            job.report()

    def _answer(self, requests: list[PlyRequest]) -> None:
        """Answer requests for moves. Requests with equal network and ``Choice`` share a batch.

        For a request with a tree, begin the search.
        """
        groups: dict[tuple[int, Choice], list[PlyRequest]] = {}
        for request in requests:
            if request.tree is None:
                groups.setdefault((request.network, request.choice), []).append(request)
            else:
                finish = partial(_answer_searched, request, request.tree)
                self._searches.add(Thought(request.tree.search, request.network, finish))
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
        self._leave(job)
        job.report()
        job.finished.set(None)

    def _fail(self, job: Job, error: Exception) -> None:
        self._leave(job)
        job.report()
        job.finished.fail(error)

    def _leave(self, job: Job) -> None:
        """Remove a match, and end its searches."""
        self._jobs.remove(job)
        for search in job.ply.searching if job.ply else ():
            self._searches.drop(search)


def _answer_searched(request: PlyRequest, tree: GameTree, error: Exception | None) -> None:
    """Answer a request whose search has ended."""
    if error is not None:
        request.answer.fail(error)
    else:
        request.answer.set(tree.choose(request.draw))


def _answer_move(request: MoveRequest, search: Search, error: Exception | None) -> None:
    """Answer a request for a single move, whose search has ended."""
    if error is not None:
        request.answer.fail(error)
        return
    try:
        found = found_move(
            search,
            request.position,
            greedy=request.greedy,
            temperature=request.temperature,
            draw=random.random(),
        )
    except Exception as failure:  # noqa: BLE001 (the request gets the error as its answer)
        request.answer.fail(failure)
    else:
        request.answer.set(found)
