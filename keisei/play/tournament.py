"""Plays one evaluation: loads its players and plays its matches. Event loop only."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anyio.to_thread

from keisei.env.observe import Observed
from keisei.evaluation import Match, MatchSpec, PlayedGame, tally
from keisei.evaluation.engine_match import EngineMatch
from keisei.evaluation.game import Opening
from keisei.evaluation.network_options import NetworkOptions, split_options
from keisei.evaluation.openings import choose_openings, load_openings
from keisei.evaluation.spec import ENGINE, LOCAL, EvaluationSpec
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.strategies import Pairing, find_strategy
from keisei.play.arena import Arena
from keisei.play.background import in_background
from keisei.play.engines import Seat, play_match
from keisei.play.match_trees import GameTree
from keisei.play.networks import LoadedNetwork
from keisei.play.ratings import rate_all
from keisei.play.standing import Contestant, MatchStanding, total_score
from keisei.search import warm_up
from keisei.store.matches import MatchGame
from keisei.usi import Engine, EngineSpec

COUNT_SECONDS = 1.0
"""Minimum time in seconds between two updates of a match's score and sequential test.

At the start and the end of a match, both are always updated.
"""
WRITE_SECONDS = 1.0
"""Seconds between two attempts to store games that have ended."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an evaluation."""

    games: int
    """Maximum number of games; the evaluation can end earlier."""
    ended: int
    """Number of games that have ended."""
    score: float | None
    """Score of the first agent over all games of this agent."""
    interval: tuple[float, float] | None
    """95 % confidence interval of the score."""

    def to_fields(self) -> dict[str, Any]:
        """Return the progress as fields of ``keisei.events.Evaluation``."""
        return {
            "games": self.games,
            "progress": self.ended / self.games,
            "score": self.score,
            "interval": self.interval,
        }


class Tournament:
    """One evaluation. ``run`` plays the evaluation and may be called only once."""

    def __init__(
        self,
        spec: EvaluationSpec,
        arena: Arena,
        *,
        names: Mapping[str, str] | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        keep: Callable[[list[MatchGame]], Any] | None = None,
        kept: Sequence[MatchGame] = (),
    ) -> None:
        """Prepare an evaluation; ``run`` plays it.

        Args:
            spec: settings of the evaluation.
            arena: loads the networks and lets them play.
            names: each player's checkpoint path; the keys are the names in ``spec``.
            on_progress: function that gets the progress at the start and the end of each match, and
                at most once in ``COUNT_SECONDS`` during the match.
            keep: function that stores games that have ended. ``keep`` is called in a thread
                and is allowed to block. If ``keep`` raises an exception, the next call gets the
                same games again.
            kept: games that were stored before the evaluation was interrupted. Complete pairs of
                these games are not played again.
        """
        self.spec = spec
        self.matches: list[MatchStanding] = []
        self._arena, self._on_progress, self._keep = arena, on_progress, keep
        self._kept = {game.number: game for game in kept}
        self._names = names or {}
        self._players: dict[str, Contestant] = {}
        self._sprt = Sprt(*spec.sprt) if spec.sprt else None
        self._fresh: list[tuple[MatchStanding, PlayedGame]] = []
        self._count_due = 0.0

    async def run(self) -> dict[str, Any]:
        """Play the evaluation and return the evaluation's result, ready for JSON.

        All players are loaded before the first game. Raises the error of a player that can't play,
        or the error of the last call of ``keep``. After an exception, ``result`` still
        returns the result of the games that have ended.
        """
        spec = self.spec
        self._openings = await anyio.to_thread.run_sync(_openings, spec.openings)
        strategy = find_strategy(spec.strategy)
        most = strategy.most_matches(spec.agents, spec.opponents)
        self._most = spec.games * len(most)
        plan = strategy.plan(spec.agents, spec.opponents)
        try:
            async with in_background(self._write_along):
                for text in dict.fromkeys(name for p in most for name in (p.agent, p.opponent)):
                    await self._player(text)
                if any(player.options.searches for player in self._players.values()):
                    await anyio.to_thread.run_sync(warm_up)  # the device thread must not compile
                pairing = next(plan, None)
                while pairing is not None:
                    match = await self._match(pairing)
                    try:
                        pairing = plan.send(tally(match.counted()))
                    except StopIteration:
                        pairing = None
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await self._write()
                finally:
                    for player in self._players.values():
                        if player.network is not None:
                            await self._arena.close(player.network)
        return await anyio.to_thread.run_sync(self.result)

    def result(self) -> dict[str, Any]:
        """Return the result of the games that have ended, or {} if no game has ended. Blocks.

        The result of a single match contains the counts and the score of the match. The result of
        several matches contains all matches, and ratings over all games. It also contains the first
        agent's Elo, and the score and number of pairs over all games of this agent. ``anchor`` is
        the player whose rating is fixed at 0.
        """
        matches = [match for match in self.matches if match.games]
        if len(matches) <= 1:
            return matches[0].to_dict() if matches else {}
        agent = matches[0].agent.name
        rated = rate_all([outcome for match in matches for outcome in match.outcomes()], agent)
        score, interval, pairs = total_score(matches)
        return {
            "agent": agent,
            "games": sum(len(match.counted()) for match in matches),
            "pairs": pairs,
            "score": score,
            "interval": interval and list(interval),
            "elo": next(found.elo for found in rated.players if found.player == agent),
            "anchor": rated.anchor,
            "matches": [match.to_dict() for match in matches],
            "ratings": rated.to_dict(),
        }

    # ------------------------------------------------------------------ players
    async def _player(self, text: str) -> Contestant:
        if text not in self._players:
            self._players[text] = await self._make_ready(text)
        return self._players[text]

    async def _make_ready(self, text: str) -> Contestant:
        if text in LOCAL:
            return Contestant(text, text)  # type: ignore[arg-type]  # names in LOCAL are kinds
        if text.startswith(ENGINE):
            engine = EngineSpec.parse(text)
            async with Engine(engine):  # the engine starts here, so that errors appear early
                return Contestant(text, "engine", engine=engine)
        name, given = split_options(text)
        options = NetworkOptions.parse(given)
        known = self._names.get(name, name)
        if known in LOCAL:  # before the first promotion, `random` plays as `best`
            return Contestant(known, known)  # type: ignore[arg-type]
        with anyio.CancelScope(shield=True):  # a cancelled load might leave a network loaded
            network = await self._arena.open(known)
        return Contestant(self._name(network, options), "network", network=network, options=options)

    def _name(self, network: LoadedNetwork, options: NetworkOptions) -> str:
        """Return a unique name for the network.

        If a network of another run already has the name, parent folders are put before the name.
        """
        homes = {
            player.name: player.network.home for player in self._players.values() if player.network
        }
        name = network.name + options.style(self.spec)
        for parent in network.home.parents:
            if homes.get(name, network.home) == network.home:
                break
            name = f"{parent.name}/{name}"
        return name

    # ------------------------------------------------------------------ matches
    async def _match(self, pairing: Pairing) -> MatchStanding:
        spec = self.spec
        agent, opponent = [await self._player(p) for p in (pairing.agent, pairing.opponent)]
        networks = agent.network, opponent.network
        games = MatchSpec(
            agent=agent.kind,
            opponent=opponent.kind,
            openings=choose_openings(self._openings, spec.games // 2, spec.seed),
            trained_max_ply=(_cap(networks[0]), _cap(networks[1])),
            options=(agent.options, opponent.options),
            **spec.rules(),
        )
        match = MatchStanding(agent, opponent, games, first=sum(m.spec.games for m in self.matches))
        self.matches.append(match)
        match.recall(self._kept)
        pairs = [k for k in range(games.games // 2) if 2 * k not in match.games]
        self._count(match)
        try:
            with anyio.CancelScope() as scope:
                if pairs and not match.decided:
                    await self._play(match, pairs, scope)
        except Exception as error:
            match.more["error"] = str(error)
            raise
        finally:
            self._count(match)
        return match

    async def _play(self, match: MatchStanding, pairs: list[int], scope: anyio.CancelScope) -> None:
        def on_games(games: list[PlayedGame]) -> None:
            match.add(games)
            self._fresh += [(match, game) for game in games]
            self._count(match, at_most_once_a_second=True)
            if match.decided:
                scope.cancel()

        agent, opponent = match.agent, match.opponent
        if agent.engine is None and opponent.engine is None:
            whole = Match(match.spec, pairs)
            await self._arena.play(whole, (agent.network, opponent.network), on_games)
        else:
            await play_match(
                EngineMatch(match.spec, pairs),
                self._seat(agent),
                self._seat(opponent),
                on_games,
                concurrency=self.spec.concurrency,
                report=match.more,
            )

    def _seat(self, player: Contestant) -> Seat:
        network = player.network
        if network is None:
            return Seat(player.kind, self.spec.seed, player.engine)
        choice = player.options.choice(self.spec)

        def choose(
            observed: Observed, draw: float, tree: GameTree | None
        ) -> Awaitable[tuple[int, float]]:
            return self._arena.choose(network, observed, draw, choice, tree)

        return Seat(player.kind, self.spec.seed, choose=choose)

    def _count(self, match: MatchStanding, *, at_most_once_a_second: bool = False) -> None:
        """Advance the sequential test and report progress.

        With a thousand games, this method blocks the event loop for milliseconds.
        """
        if at_most_once_a_second and time.monotonic() < self._count_due:
            return
        self._count_due = time.monotonic() + COUNT_SECONDS
        if self._sprt is not None and not match.decided:
            match.advance_test(self._sprt)
        score, interval, _ = total_score(self.matches)
        ended = sum(len(m.games) for m in self.matches)
        self._on_progress(Progress(max(self._most, ended), ended, score, interval))

    # ------------------------------------------------------------------ games to keep
    async def _write_along(self) -> None:
        while True:
            await anyio.sleep(WRITE_SECONDS)
            with suppress(Exception):  # if the database is locked, try again later
                await self._write()

    async def _write(self) -> None:
        """Store the games that have ended since the last call.

        If this method is cancelled, it still stores the games before it ends.
        """
        fresh = self._fresh[:]
        if self._keep is not None and fresh:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_write, self._keep, fresh)
        del self._fresh[: len(fresh)]


def _cap(network: LoadedNetwork | None) -> int | None:
    return None if network is None else network.max_ply


@cache
def _openings(file: str | None) -> tuple[Opening, ...]:
    """Return the openings of ``file``, or of Keisei's own book if ``file`` is None.

    The result is cached, because reading a book takes a second.
    """
    return tuple(map(Opening.read, load_openings(Path(file) if file else None)))


def _write(
    keep: Callable[[list[MatchGame]], Any], fresh: list[tuple[MatchStanding, PlayedGame]]
) -> None:
    keep([match.row(game) for match, game in fresh])
