#!/usr/bin/env python
"""Measure how much probability a network gives to mates in one, in positions it has not seen.

    python tools/experiments/mate_probe.py RUN_OR_CHECKPOINT --positions 400 --seed 1

The positions come from games of the one-ply ``material`` player against itself, whose first moves
are random. Each has a mate in one; a game gives at most one position. Prints one JSON object: the
mean probability of all mating moves together, the share of positions in which the most probable
move mates, the probability of a mate by a uniform choice, and the mean value.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import numpy as np
import torch
from numpy.typing import NDArray

import keisei
from keisei.env import VectorEnv, legal_lists
from keisei.env.choose import material_actions, random_actions
from keisei.nets.policy import Agent
from keisei.shogi import Position, kernels

GAMES = 256
RANDOM_PLIES = 20


def positions(wanted: int, seed: int) -> list[tuple[str, list[int]]]:
    """Return SFENs in which the side to move has a mate in one, with the mating actions."""
    found: list[tuple[str, list[int]]] = []
    rng = np.array([seed], np.uint64)
    env = VectorEnv(GAMES, max_ply=400, seed=seed)
    used: set[int] = set()
    while len(found) < wanted:
        moves = material_actions(env.games, rng)
        opening = env.games["ply"] < RANDOM_PLIES
        moves[opening] = random_actions(env.mask, rng)[opening]
        before = [env.sfen(i) for i in range(GAMES)]
        numbers = env.game_number.copy()
        step = env.step(moves)
        for i in np.flatnonzero(step.reason == kernels.CHECKMATE).tolist():
            if int(numbers[i]) not in used and len(found) < wanted:
                used.add(int(numbers[i]))
                found.append((before[i], mates(before[i])))
    return found


def mates(sfen: str) -> list[int]:
    """Return the actions that mate at once."""
    position = Position(sfen)
    after = {move: position.copy() for move in position.legal_moves()}
    for move, reached in after.items():
        reached.push(move)
    return [
        position.action(move)
        for move, reached in after.items()
        if reached.in_check and not reached.legal_moves()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("player", help="run or checkpoint")
    parser.add_argument("--positions", type=int, default=400, help="number of positions")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    player = keisei.load(args.player)
    report = probe(player.agent, positions(args.positions, args.seed))
    print(json.dumps({"step": player.step, "positions": args.positions, **report}))


def probe(agent: Agent, found: list[tuple[str, list[int]]]) -> dict[str, float]:
    """Return means over ``positions`` of a network's answers."""
    seen, mask = observe([sfen for sfen, _ in found])
    rows, value = agent.top_and_values(seen, mask, k=600)
    mass, best, uniform = [], [], []
    for row, (_, mating) in zip(rows, found, strict=True):
        chances = dict(row)
        mass.append(sum(chances[action] for action in mating))
        best.append(row[0][0] in mating)
        uniform.append(len(mating) / len(row))
    return {
        "probability": float(np.mean(mass)),
        "greedy": float(np.mean(best)),
        "uniform": float(np.mean(uniform)),
        "value": float(value.mean()),
    }


def observe(sfens: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Return observations and masks of positions, with the ply counter at zero."""
    env = VectorEnv(len(sfens), reset_pool=0)
    env.start_from(sfens)
    assert (legal_lists(env.mask)[1] > 0).all()
    return env.observation, env.mask


if __name__ == "__main__":
    main()
