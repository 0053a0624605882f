"""Measure the environment on one core: steps of random legal play, and the search for mates."""

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

from keisei.cli.errors import require
from keisei.cli.settings import whole

BATCHES = (256, 1024, 4096)
"""Batch sizes that are measured. A batch size is the number of games played side by side."""

REPEATS = 7

MATE_GAMES = 128
"""Number of games, played side by side, whose positions are searched for mates."""

MATE_SAMPLES = 10
"""Number of times that the positions of all these games are searched."""

PLIES_BETWEEN = 8
"""Number of plies from one search to the next."""

MATERIAL_SHARE = 0.9
"""Probability of a move of the material player in these games; all other moves are random."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench env``."""
    parser.add_argument(
        "--steps",
        type=whole,
        metavar="N",
        default=1_000_000,
        help="number of plies in one repeat, in all games together (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure random play with each batch size, and then the search for mates.

    One thread does all the work. It is pinned to one core.

    In each step, a uniformly random legal move is chosen and played, and the mask and the
    observation of the next position are written. The time also includes resets, and the checks for
    repetition and declaration.

    Two checks guard the result. First, the checksum of all masks must be the same in all repeats.
    Second, the last mask of each of the first 64 games must equal the mask that is computed from
    the game's SFEN. The same kernels compute all masks, so the second check finds only errors in
    the state that a game keeps from ply to ply. (The tests compare the checksum with the checksum
    of another implementation.)
    """
    require("steps", args.steps, args.steps >= 1, "1 or more")
    with one_core() as core:
        batches = {str(games): measure(games, args.steps) for games in BATCHES}
        mates = measure_mates()
    best = max(batches, key=lambda games: float(batches[games]["median"]))
    return {
        "steps_per_second": {games: batch["median"] for games, batch in batches.items()},
        "best": {"games": int(best), "steps_per_second": batches[best]["median"]},
        "batches": batches,
        "mates": mates,
        "repeats": REPEATS,
        "core": core,
        "threads": 1,
    }


@contextlib.contextmanager
def one_core() -> Iterator[int | None]:
    """Pin this thread to one core. Yield the core's number, or None if pinning is impossible."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield max(cores)
    finally:
        os.sched_setaffinity(0, cores)


def measure(games: int, steps: int, repeats: int = REPEATS) -> dict[str, Any]:
    """Measure ``repeats`` times; return the median, highest and lowest steps per second.

    ``processor_share`` is the share of the time in which this thread ran on the processor. On a
    machine without other work this share is about 1. ``checksum`` is computed from all masks.
    Raises RuntimeError if a mask is wrong.
    """
    from keisei.env import VectorEnv

    env = VectorEnv(games, seed=1, reset_pool=0)
    env.stagger()
    start = env.state()
    play(env, 2)
    speeds, shares, checksums = [], [], set()
    plies = max(1, steps // games)
    for _ in range(repeats):
        env.load_state(start)
        wall, processor = time.perf_counter(), time.thread_time()
        checksums.add(play(env, plies))
        wall, processor = time.perf_counter() - wall, time.thread_time() - processor
        speeds.append(games * plies / wall)
        shares.append(processor / wall)
    if len(checksums) != 1:
        raise RuntimeError(
            f"the same moves gave different masks in two repeats: checksums {sorted(checksums)}"
        )
    check_masks(env)
    return {
        "median": statistics.median(speeds),
        "fastest": max(speeds),
        "slowest": min(speeds),
        "processor_share": statistics.median(shares),
        "checksum": f"{checksums.pop():016x}",
    }


def play(env: Any, plies: int) -> int:
    """Play ``plies`` random moves in every game. Return the checksum over all masks."""
    import numpy as np

    from keisei.env import random_actions
    from keisei.shogi import kernels

    rng = np.array([7], np.uint64)
    checksum = np.zeros(1, np.uint64)
    for _ in range(plies):
        env.step(random_actions(env.mask, rng))
        kernels.mix_masks(env.mask, checksum)
    return int(checksum[0])


def check_masks(env: Any) -> None:
    """Raise RuntimeError if the mask of one of the first 64 games does not fit the game's SFEN."""
    import numpy as np

    from keisei.shogi import Position

    for game in range(min(len(env), 64)):
        position = Position(env.sfen(game))
        expected = sorted(position.action(move) for move in position.legal_moves())
        ones = np.unpackbits(env.mask[game].view(np.uint8), bitorder="little")
        if np.flatnonzero(ones).tolist() != expected:
            raise RuntimeError(f"wrong mask in game {game}: {env.sfen(game)}")


def measure_mates() -> dict[str, dict[str, Any]]:
    """Measure the search for mates of one move and of at most three moves.

    The result contains the mean time per position, and the share of positions with a proven mate.
    The positions come from games that resemble self-play: the first moves are random, and then most
    moves are those of the material player. Each search is repeated, and the median of its processor
    times counts.
    """
    import numpy as np

    from keisei.env import VectorEnv, material_actions, random_actions

    seconds, found = {1: 0.0, 3: 0.0}, {1: 0, 3: 0}
    rng, chance = np.array([7], np.uint64), np.random.default_rng(7)
    env = VectorEnv(MATE_GAMES, seed=1, reset_pool=0)
    env.stagger()
    search(env, 3)  # compiles the kernels
    for _ in range(MATE_SAMPLES):
        for _ in range(PLIES_BETWEEN):
            actions = random_actions(env.mask, rng)
            chosen = chance.random(MATE_GAMES) < MATERIAL_SHARE
            actions[chosen] = material_actions(env.games, rng)[chosen]
            env.step(actions)
        for moves in seconds:
            seconds[moves] += statistics.median(search(env, moves) for _ in range(REPEATS))
            found[moves] += int((env.mate >= 0).sum())
    positions = MATE_GAMES * MATE_SAMPLES
    return {
        f"mates={moves}": {
            "microseconds": seconds[moves] / positions * 1e6,
            "share_found": found[moves] / positions,
            "positions": positions,
        }
        for moves in seconds
    }


def search(env: Any, moves: int) -> float:
    """Search all games for a mate of at most ``moves`` moves; return the processor time (s)."""
    env.mates = moves
    start = time.thread_time()
    env.update_mates()
    return time.thread_time() - start
