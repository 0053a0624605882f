"""Measure matches of two networks: games per second with all games at once, and pair by pair.

Two untrained networks of the configured size play on one torch thread. Three measurements
alternate, and each result is a median:

- ``together``: all games of a match are played side by side.
- ``alone``: the same code plays one pair of games at a time. Each call of a network evaluates one
  position.
- ``forward``: a network evaluates one prepared position at a time, without a game. The
  positions per second of ``forward`` are an upper bound for the plies per second of ``alone``.
"""

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import require

if TYPE_CHECKING:
    from keisei.nets.policy import Agent

PAIRS_ALONE = 2
"""Number of pairs of games that ``alone`` plays in one repeat."""

FORWARDS = 300
"""Number of calls of the network in one repeat of ``forward``."""

MAX_PLY = 160


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench match``."""
    from keisei.cli.settings import add_config, whole

    add_config(parser)
    parser.add_argument(
        "--games",
        type=whole,
        metavar="N",
        default=256,
        help="games side by side, an even number (default: 256)",
    )
    parser.add_argument(
        "--repeats",
        type=whole,
        metavar="N",
        default=5,
        help="repeats of each measurement (default: 5)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the median numbers of games, plies and positions per second, and their ratios."""
    import asyncio

    require(
        "games", args.games, args.games >= 2 and args.games % 2 == 0, "an even number, 2 or more"
    )
    require("repeats", args.repeats, args.repeats >= 1, "1 or more")
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from keisei.cli import process
    from keisei.cli.settings import load

    settings = load(args)
    process.set_up()
    import torch

    from keisei.evaluation.game import Opening
    from keisei.evaluation.openings import load_openings
    from keisei.nets.policy import Agent, resolve_device, resolve_dtype
    from keisei.nets.registry import build

    torch.set_num_threads(1)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.compute.dtype, device)
    agents = [
        Agent(build(**settings.net.model_dump(), seed=seed).to(device).eval(), device, dtype)
        for seed in (1, 2)
    ]
    openings = tuple(map(Opening.read, load_openings()))
    measured: dict[str, list[float]] = {"together": [], "alone": [], "plies": [], "forward": []}
    for repeat in range(args.repeats + 1):
        together, _ = await _play(agents, openings, args.games, repeat)
        alone, plies = await _play(agents, openings, 2 * PAIRS_ALONE, repeat, one_by_one=True)
        forward = _forward(agents[0])
        if repeat:  # the first repeat only warms up
            for name, value in zip(measured, (together, alone, plies, forward), strict=True):
                measured[name].append(value)
    together, alone, plies, forward = (statistics.median(values) for values in measured.values())
    return {
        "games": args.games,
        "together_games_per_second": together,
        "alone_games_per_second": alone,
        "ratio": together / alone,
        "alone_plies_per_second": plies,
        "forwards_per_second": forward,
        "alone_of_forward": plies / forward,
        "ratios": [t / a for t, a in zip(measured["together"], measured["alone"], strict=True)],
        "dtype": str(dtype).removeprefix("torch."),
    }


async def _play(
    agents: "list[Agent]", openings: Any, games: int, seed: int, *, one_by_one: bool = False
) -> tuple[float, float]:
    """Play a match as the device thread does. Return the games and the plies per second."""
    from keisei.config import Env
    from keisei.evaluation import Match, MatchSpec
    from keisei.evaluation.openings import choose_openings
    from keisei.play.networks import Networks
    from keisei.play.turns import Job, Matches, PlayMatch

    loaded = Networks("net", Env(max_ply=MAX_PLY), "cpu", lambda name, level, text: None)
    matches = Matches(loaded)
    networks = [loaded.copy_weights(agent, number) for number, agent in enumerate(agents)]
    spec = MatchSpec(
        "network", games=games, seed=seed, max_ply=MAX_PLY,
        openings=choose_openings(openings, games // 2, seed),
    )  # fmt: skip
    skipped = [len(opening.actions) for opening in spec.openings]
    plies, seconds = 0, 0.0
    every_pair = range(games // 2)
    for pairs in [[pair] for pair in every_pair] if one_by_one else [every_pair]:
        began = time.perf_counter()
        match = Match(spec, pairs)
        job = Job(match, (networks[0], networks[1]), on_games=_ignore)
        matches.obey(PlayMatch(job))
        while matches.running:
            matches.turn([])
        seconds += time.perf_counter() - began
        plies += sum(game.plies - skipped[game.pair] for game in match.played)
    return games / seconds, plies / seconds


def _ignore(games: Any) -> None:
    pass


def _forward(agent: "Agent") -> float:
    """Return how many positions per second a network evaluates, with one position per call."""
    import torch

    from keisei.evaluation import Match, MatchSpec
    from keisei.nets.policy import evaluate

    request = Match(MatchSpec("network", games=2)).request()
    assert request is not None  # noqa: S101 (a new game always has a position to evaluate)
    seen = torch.from_numpy(request.observation[:1]).to(agent.device)
    with torch.no_grad():
        began = time.perf_counter()
        for _ in range(FORWARDS):
            evaluate(agent.net, seen, agent.dtype)
        return FORWARDS / (time.perf_counter() - began)
