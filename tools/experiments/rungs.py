#!/usr/bin/env python
"""Check that each opponent of the ``benchmark`` strategy is stronger than the one below it.

    PATH=$PATH:/usr/games python tools/experiments/rungs.py --games 100

Neighbours play pairs from the shipped book of openings. Prints one JSON line a match: the score of
the stronger one with its 95 % interval, and how its games ended.
"""

import argparse
import json
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import anyio

from keisei import EvaluationSpec
from keisei.evaluation.strategies import BENCHMARK
from keisei.play.arena import local_arena
from keisei.play.tournament import Tournament

WANTED = (
    "agent",
    "opponent",
    "games",
    "score",
    "interval",
    "elo",
    "wins",
    "draws",
    "losses",
    "capped",
)


async def play(games: int, seed: int, concurrency: int) -> None:
    """Play all matches of neighbours, the weakest first."""
    async with local_arena("cpu") as arena:
        for below, above in pairwise(BENCHMARK):
            spec = EvaluationSpec(
                agents=(above,),
                opponents=(below,),
                games=games,
                seed=seed,
                concurrency=concurrency,
            )
            result = await Tournament(spec, arena).run()
            print(json.dumps({name: result[name] for name in WANTED}), flush=True)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=100, help="games of each match")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=2, help="games at once")
    args = parser.parse_args()
    anyio.run(partial(play, args.games, args.seed, args.concurrency))


if __name__ == "__main__":
    main()
