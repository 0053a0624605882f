"""An evaluation as it is played: its players, its matches, its games, from the loop."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread

from keisei.evaluation import Match, MatchSpec, PlayedGame, tally
from keisei.evaluation.engine_match import EngineMatch
from keisei.evaluation.match import Opening
from keisei.evaluation.openings import choose, load_openings
from keisei.evaluation.spec import ENGINE, LOCAL, EvaluationSpec
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.strategies import Pairing, find_strategy
from keisei.play.background import beside
from keisei.play.engines import Seat, play_match
from keisei.play.ratings import rate_all
from keisei.play.standing import Played, Player, standing
from keisei.play.turns import Network
from keisei.store.matches import MatchGame
from keisei.usi import Engine, EngineSpec

LOOK_SECONDS = 1.0
"""Between two looks at a match in play."""
WRITE_SECONDS = 1.0
"""Between two times that games are handed over to be kept."""


class Arena(Protocol):
    """Where networks play. Raises what keeps a network from being used."""

    async def open(self, source: str) -> Network:
        """Bring up ``current``, or the network of a run or checkpoint."""

    async def play(
        self,
        match: Match,
        networks: tuple[Network | None, Network | None],
        tell: Callable[[list[PlayedGame]], None],
        *,
        greedy: bool,
    ) -> None:
        """Play a match; ``tell`` of games as they end. Cancelled, it ends early."""

    async def choose(self, network: Network, look: Any, draw: float, *, greedy: bool) -> Any:
        """Action and value in one position; ``look``: observation uint8[1, 131], mask uint64[1, 35]."""

    async def close(self, network: Network) -> None:
        """Let a network go."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is."""

    games: int
    """That will be played if the agents win every match and no sequential test ends one."""
    ended: int
    score: float | None
    """The first agent's, over all its games."""
    interval: tuple[float, float] | None


class Tournament:
    """One evaluation. ``run`` plays it; an instance plays once."""

    def __init__(
        self,
        spec: EvaluationSpec,
        arena: Arena,
        *,
        names: Mapping[str, str] | None = None,
        show: Callable[[Progress], None] = lambda progress: None,
        keep: Callable[[list[MatchGame]], Any] | None = None,
        kept: Sequence[MatchGame] = (),
    ) -> None:
        """``names``: what names in ``spec`` stand for. ``show`` follows; ``keep`` (blocking, called in a
        thread) writes games, and gets them again if it raises; ``kept``: games that were written when
        this evaluation was broken off, which are not played again.
        """
        self.spec = spec
        self.matches: list[Played] = []
        self._arena, self._show, self._keep = arena, show, keep
        self._kept = {game.number: game for game in kept}
        self._names = names or {}
        self._players: dict[str, Player] = {}
        self._sprt = Sprt(*spec.sprt) if spec.sprt else None
        self._fresh: list[tuple[Played, PlayedGame]] = []
        self._due = 0.0

    async def run(self) -> dict[str, Any]:
        """Play. Returns the result, for JSON.

        All players are brought up before the first game. Raises what keeps one from playing, then or
        later, and what ``keep`` raises at last; ``result`` tells what was played until then.
        """
        spec = self.spec
        self._openings = await anyio.to_thread.run_sync(_openings, spec.openings)
        strategy = find_strategy(spec.strategy)
        most = strategy.most_matches(spec.agents, spec.opponents)
        self._most = spec.games * len(most)
        plan = strategy.plan(spec.agents, spec.opponents)
        try:
            async with beside(self._write_along):
                for text in dict.fromkeys(name for p in most for name in (p.agent, p.opponent)):
                    await self._player(text)
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
        """Of the games that ended: with several matches each, and ratings over all of them.

        Beside these the first agent's score over all its games, its pairs, its rated Elo, and who is
        0 in that. Empty before the first game. Blocking.
        """
        matches = [match for match in self.matches if match.games]
        if len(matches) <= 1:
            return matches[0].to_dict() if matches else {}
        agent = matches[0].agent.name
        rated = rate_all([outcome for match in matches for outcome in match.outcomes()], agent)
        score, interval, pairs = standing(matches)
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
    async def _player(self, text: str) -> Player:
        if text not in self._players:
            self._players[text] = await self._bring_up(self._names.get(text, text))
        return self._players[text]

    async def _bring_up(self, text: str) -> Player:
        if text in LOCAL:
            return Player(text, text)  # type: ignore[arg-type]  # the two are kinds
        if text.startswith(ENGINE):
            engine = EngineSpec.parse(text)
            async with Engine(engine):  # what it refuses is told before a game begins
                return Player(text, "engine", engine=engine)
        with anyio.CancelScope(shield=True):  # else it would lie open and nobody know of it
            network = await self._arena.open(text)
        return Player(self._name(network), "network", network=network)

    def _name(self, network: Network) -> str:
        """With as many of its run's parents as tell it from the others: ``exp2/quick@100``."""
        homes = {
            player.name: player.network.home for player in self._players.values() if player.network
        }
        name = network.name + (" greedy" if self.spec.greedy else "")
        for parent in network.home.parents:
            if homes.get(name, network.home) == network.home:
                break
            name = f"{parent.name}/{name}"
        return name

    # ------------------------------------------------------------------ matches
    async def _match(self, pairing: Pairing) -> Played:
        spec = self.spec
        agent, opponent = [await self._player(p) for p in (pairing.agent, pairing.opponent)]
        networks = agent.network, opponent.network
        games = MatchSpec(
            agent=agent.kind,
            opponent=opponent.kind,
            games=spec.games,
            seed=spec.seed,
            openings=choose(self._openings, spec.games // 2, spec.seed),
            max_ply=spec.max_ply,
            declaration=spec.declaration,
            resign=spec.resign,
            trained_max_ply=(_cap(networks[0]), _cap(networks[1])),
        )
        match = Played(agent, opponent, games, first=sum(m.spec.games for m in self.matches))
        self.matches.append(match)
        match.recall(self._kept)
        pairs = [k for k in range(games.games // 2) if 2 * k not in match.games]
        self._look(match)
        try:
            with anyio.CancelScope() as scope:
                if pairs and not match.decided:
                    await self._play(match, pairs, scope)
        except Exception as error:
            match.more["error"] = str(error)
            raise
        finally:
            self._look(match)
        return match

    async def _play(self, match: Played, pairs: list[int], scope: anyio.CancelScope) -> None:
        def tell(games: list[PlayedGame]) -> None:
            match.add(games)
            self._fresh += [(match, game) for game in games]
            self._look(match, seldom=True)
            if match.decided:
                scope.cancel()

        agent, opponent = match.agent, match.opponent
        if agent.engine is None and opponent.engine is None:
            whole = Match(match.spec, pairs)
            await self._arena.play(
                whole, (agent.network, opponent.network), tell, greedy=self.spec.greedy
            )
        else:
            await play_match(
                EngineMatch(match.spec, pairs),
                self._seat(agent),
                self._seat(opponent),
                tell,
                concurrency=self.spec.concurrency,
                report=match.more,
            )

    def _seat(self, player: Player) -> Seat:
        network = player.network
        if network is None:
            return Seat(player.kind, self.spec.seed, player.engine)
        choose = partial(self._arena.choose, network, greedy=self.spec.greedy)
        return Seat(player.kind, self.spec.seed, choose=choose)

    def _look(self, match: Played, *, seldom: bool = False) -> None:
        """Test what has been played, and show it; if ``seldom``, once a second at most.

        It takes some ms for a thousand games, in which the loop does nothing else.
        """
        if seldom and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        if self._sprt is not None and not match.decided:
            match.look(self._sprt)
        score, interval, _ = standing(self.matches)
        ended = sum(len(m.games) for m in self.matches)
        self._show(Progress(max(self._most, ended), ended, score, interval))

    # ------------------------------------------------------------------ games to keep
    async def _write_along(self) -> None:
        while True:
            await anyio.sleep(WRITE_SECONDS)
            with suppress(Exception):  # the database may be locked: the next time, or at last
                await self._write()

    async def _write(self) -> None:
        """Hand over the games that have ended since the last time, even if cancelled meanwhile."""
        fresh = self._fresh[:]
        if self._keep is not None and fresh:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_write, self._keep, fresh)
        del self._fresh[: len(fresh)]


def _cap(network: Network | None) -> int | None:
    return None if network is None else network.max_ply


@cache
def _openings(file: str | None) -> tuple[Opening, ...]:
    """Read and replayed once in a process: a book takes a second."""
    return tuple(map(Opening.read, load_openings(Path(file) if file else None)))


def _write(keep: Callable[[list[MatchGame]], Any], fresh: list[tuple[Played, PlayedGame]]) -> None:
    keep([match.row(game) for match, game in fresh])
