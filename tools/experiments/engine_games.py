#!/usr/bin/env python
"""Let a USI engine play itself and write the games, one USI line each, for ``keisei warmup``.

    python tools/experiments/engine_games.py --games 200 --seed 1 --out fairy.usi

The engine (default: Debian's fairy-stockfish) searches ``--nodes`` nodes a move. In each game each
side has its own Skill Level, drawn from ``--skill``, and the first plies are random, so that no two
games are alike. Keisei's rules decide: a game ends by mate, repetition, declaration (27 points),
``resign`` or ``--max-ply``. A game in which the engine plays an illegal move is thrown away and
counted. The engine's own randomness is not seeded: the same seed gives the same openings, but not
the same games.
"""

import argparse
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from keisei.cli import process

process.keep_kernels()

from keisei.shogi import IllegalMoveError, Position  # noqa: E402


class Engine:
    """A USI engine as a child process."""

    def __init__(self, path: str, nodes: int) -> None:
        self._go = f"go nodes {nodes}"
        self._process = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        names = [line for line in self.ask("usi", "usiok") if line.startswith("id name ")]
        self.name = names[0].removeprefix("id name ")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.say("quit")
        self._process.wait(timeout=10)

    def say(self, line: str) -> None:
        """Send a line."""
        print(line, file=self._process.stdin, flush=True)

    def ask(self, line: str, until: str) -> list[str]:
        """Send a line. Return the answers, up to the one that begins with ``until``."""
        self.say(line)
        answers: list[str] = []
        while not (answers and answers[-1].startswith(until)):
            if not (answer := self._process.stdout.readline()):
                raise SystemExit(f"the engine ended before it answered: {line}")
            answers.append(answer.strip())
        return answers

    def begin(self, skill: int) -> None:
        """Begin a new game at this Skill Level."""
        self.say(f"setoption name Skill Level value {skill}")
        self.say("usinewgame")
        self.ask("isready", "readyok")

    def best_move(self, moves: list[str]) -> str:
        """Return the engine's move after these moves, or ``resign`` or ``win``."""
        self.say(f"position startpos moves {' '.join(moves)}")
        return self.ask(self._go, "bestmove")[-1].split()[1]


def opening(plies: int, rng: random.Random) -> tuple[Position, list[str]]:
    """Play random legal moves that do not end the game. Return the position and the moves."""
    while True:
        position, moves = Position(), []
        for _ in range(plies):
            moves.append(rng.choice(position.legal_moves()))
            position.push(moves[-1])
            if position.outcome():
                break
        else:
            return position, moves


def play(engines: tuple[Engine, Engine], args: argparse.Namespace, rng: random.Random) -> list[str]:
    """Play one game. Return its moves, and ``resign`` if that ended it."""
    position, moves = opening(args.random_plies, rng)
    for engine in engines:
        engine.begin(rng.randint(*args.skill))
    while (ended := position.outcome()) is None:
        if len(moves) >= args.max_ply:
            return [*moves, "max_moves"]
        move = engines[position.side == "white"].best_move(moves)
        if move in {"resign", "win"}:
            return [*moves, move]
        position.push(move)
        moves.append(move)
    return [*moves, "win"] if ended.reason == "declaration" else moves


def arguments() -> argparse.Namespace:
    """Parse the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="/usr/games/fairy-stockfish", help="path of the engine")
    parser.add_argument("--games", type=int, default=200, help="games to play")
    parser.add_argument("--nodes", type=int, default=500, help="nodes of each search")
    parser.add_argument("--skill", type=int, nargs=2, default=(0, 5), metavar=("LOW", "HIGH"))
    parser.add_argument("--random-plies", type=int, default=8, help="random plies first")
    parser.add_argument("--max-ply", type=int, default=400, help="plies after which to stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file of USI lines to write")
    return parser.parse_args()


def main() -> None:
    """Play the games and write them."""
    args = arguments()
    rng = random.Random(args.seed)
    ends: Counter[str] = Counter()
    plies = 0
    with (
        Engine(args.engine, args.nodes) as black,
        Engine(args.engine, args.nodes) as white,
        args.out.open("w", encoding="ascii") as out,
    ):
        low, high = args.skill
        print(
            f"# {black.name}, {args.nodes} nodes, Skill Level {low} to {high}, "
            f"{args.random_plies} random plies, seed {args.seed}", file=out
        )  # fmt: skip
        for number in range(1, args.games + 1):
            try:
                moves = play((black, white), args, rng)
            except IllegalMoveError as error:
                ends["illegal"] += 1
                print(f"game {number} thrown away: {error}", file=sys.stderr)
                continue
            last = moves[-1] if moves[-1].isalpha() or "_" in moves[-1] else "by the rules"
            ends[last] += 1
            plies += len(moves)
            print("startpos moves", *moves, file=out, flush=True)
            if number % 20 == 0:
                print(f"{number} games, {plies} plies, {dict(ends)}", file=sys.stderr)
    print(f"{args.out}: {plies} plies, ends {dict(ends)}")


if __name__ == "__main__":
    main()
