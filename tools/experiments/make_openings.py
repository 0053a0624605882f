#!/usr/bin/env python
"""Make the opening book that ships with Keisei: short balanced lines from the start position.

    python tools/experiments/make_openings.py \
        --work openings.jsonl --out keisei/evaluation/openings.usi

Each attempt draws a length from ``--plies``. At each ply it asks a USI engine (default: Debian's
fairy-stockfish) for its ``--lines`` best moves at ``--depth``, and draws one of those within
``--margin`` of the best. A side that is ahead by more than ``--limit`` draws from the worse half of
them, a side that is behind from the better half. The line is kept if, in the final position, a
search with ``--judge-nodes`` sees neither side ahead by more than ``--limit``, the king is not in
check, there are at least ``--legal`` legal moves, and the book does not have this position yet.
Scores are in the engine's hundredths of a pawn.

Fairy-Stockfish 11.1 is biased: it gives black 164 in the start position, and 102 even if white
moves first. So it always sees the side to move as black when it chooses moves. And it judges each
final position twice, once turned round with the colours swapped; the mean counts.

The engine searches by depth and nodes, on one thread, and clears its tables before each attempt and
each judgement. So an attempt depends only on the seed, its number and the engine. ``--work`` keeps
one JSON object an attempt. An interrupted run continues where it stopped if it is started with the
same flags.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from engine_games import Engine

from keisei.shogi import IllegalMoveError, Position

_LINE = re.compile(
    r"info .*\bmultipv (\d+) score cp (-?\d+) nodes.* pv (\S+)"
)  # bounds don't match
_TURN = str.maketrans("123456789abcdefghi", "987654321ihgfedcba")
"""Translates squares to the other side's view."""


def turned(sfen: str) -> str:
    """Return the position with the board turned round and the colours swapped."""
    board, side, hands, _ = sfen.split()
    men = re.findall(r"\+?.", board)[::-1]
    return f"{''.join(men).swapcase()} {'w' if side == 'b' else 'b'} {hands.swapcase()} 1"


def search(engine: Engine, sfen: str, limit: str, lines: int) -> list[tuple[int, str]]:
    """Return score and first move of the best lines, best first. Mate scores are left out."""
    engine.say(f"setoption name MultiPV value {lines}")
    engine.say(f"position sfen {sfen}")
    said = engine.ask(f"go {limit}", "bestmove")
    last = {match[1]: (int(match[2]), match[3]) for line in said if (match := _LINE.match(line))}
    return sorted(last.values(), reverse=True)


def forget(engine: Engine) -> None:
    """Clear all tables of the engine. ``usinewgame`` alone does not clear those of a thread."""
    engine.say("setoption name Threads value 1")
    engine.say("usinewgame")
    engine.ask("isready", "readyok")


def judge(engine: Engine, sfen: str, nodes: int) -> int | None:
    """Return the score for the side to move without the engine's colour bias; None for a mate."""
    scores = []
    for view in (sfen, turned(sfen)):
        forget(engine)
        scores += [score for score, _ in search(engine, view, f"nodes {nodes}", 1)]
    return round(sum(scores) / 2) if len(scores) == 2 else None


def draw(engine: Engine, plies: int, rng: random.Random, args: argparse.Namespace) -> list[str]:
    """Draw the moves of a line. Raises ValueError with the reason if the line can't go on."""
    position, moves, before = Position(), list[str](), 0
    forget(engine)
    while len(moves) < plies:
        white = position.side == "white"
        view = turned(position.sfen()) if white else position.sfen()
        found = search(engine, view, f"depth {args.depth}", args.lines)
        if not found:
            raise ValueError("mate")
        best = found[0][0]
        # Such a shallow search favours the side to move; over two plies that cancels out.
        ahead = (best - before) / 2 if moves else 0
        before = best
        near = [move for score, move in found if score >= best - args.margin]
        if ahead > args.limit:
            near = near[len(near) // 2 :]
        elif ahead < -args.limit:
            near = near[: len(near) // 2 + 1]
        move = rng.choice(near)
        moves.append(move.translate(_TURN) if white else move)
        try:
            position.push(moves[-1])
        except IllegalMoveError:
            raise ValueError("illegal") from None
        if position.outcome():
            raise ValueError("over")
    return moves


def attempt(engine: Engine, number: int, args: argparse.Namespace) -> dict[str, Any]:
    """Make one attempt. ``refused`` says why it is not for the book; twins are found later."""
    rng = random.Random(f"{args.seed}/{number}")
    plies = rng.randint(*args.plies)
    tried: dict[str, Any] = {"number": number, "plies": plies}
    try:
        moves = draw(engine, plies, rng, args)
    except ValueError as error:
        return tried | {"refused": str(error)}
    position = Position()
    for move in moves:
        position.push(move)
    tried |= {"moves": " ".join(moves), "final": position.sfen().rpartition(" ")[0]}
    if position.in_check:
        return tried | {"refused": "check"}
    if len(position.legal_moves()) < args.legal:
        return tried | {"refused": "few moves"}
    cp = judge(engine, position.sfen(), args.judge_nodes)
    if cp is None or abs(cp) > args.limit:
        return tried | {"cp": cp, "refused": "unbalanced"}
    return tried | {"cp": cp}


def accepted(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the attempts for the book: the first one for each final position."""
    book: dict[str, dict[str, Any]] = {}
    for tried in attempts:
        if "refused" not in tried:
            book.setdefault(tried["final"], tried)
    return list(book.values())


def quantiles(values: list[int]) -> str:
    """Return the minimum, the quartiles and the maximum."""
    ranked = sorted(values)
    return " ".join(str(ranked[(len(ranked) - 1) * part // 4]) for part in range(5))


def header(name: str, book: list[dict[str, Any]], tries: int, args: argparse.Namespace) -> str:
    """Return comments that say how the book was made and what is in it."""
    lines = [tried["moves"].split() for tried in book]
    firsts = Counter(moves[0] for moves in lines).most_common()
    black = [tried["cp"] * (-1) ** tried["plies"] for tried in book]
    text = f"""\
Balanced openings from the start position, made by tools/experiments/make_openings.py.
{name}, one thread, Contempt 0, seed {args.seed}. Moves drawn among the best {args.lines} \
(depth {args.depth}) within {args.margin} cp,
{args.plies[0]} to {args.plies[1]} plies. Kept: at most +-{args.limit} cp (mean of two searches of \
{args.judge_nodes} nodes, colours swapped in one),
no check, {args.legal} legal moves or more, all final positions different. cp: the engine's 1/100 pawn.
{len(book)} lines of {tries} attempts. Least, quartiles, greatest: plies \
{quantiles([tried["plies"] for tried in book])}; cp for black {quantiles(black)}.
Black to move in {sum(tried["plies"] % 2 == 0 for tried in book)}. \
Different after 4 plies: {len({tuple(moves[:4]) for moves in lines})}, \
after 8: {len({tuple(moves[:8]) for moves in lines})}.
First moves: {", ".join(f"{move} {count}" for move, count in firsts)}."""
    return "".join(f"# {line}\n" for line in text.splitlines())


def arguments() -> argparse.Namespace:
    """Parse the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="/usr/games/fairy-stockfish", help="path of the engine")
    parser.add_argument("--book", type=int, default=640, help="lines wanted")
    parser.add_argument("--plies", type=int, nargs=2, default=(8, 24), metavar=("LOW", "HIGH"))
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--margin", type=int, default=100)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--judge-nodes", type=int, default=30_000)
    parser.add_argument("--legal", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="JSON lines of all attempts")
    parser.add_argument("--out", type=Path, required=True, help="the book to write")
    return parser.parse_args()


def main() -> None:
    """Make attempts until there are enough lines, then write the book."""
    args = arguments()
    attempts = [json.loads(line) for line in args.work.open()] if args.work.exists() else []
    with Engine(args.engine, args.judge_nodes) as engine, args.work.open("a") as work:
        # With Contempt the engine overrates the side to move.
        engine.say("setoption name Contempt value 0")
        while len(book := accepted(attempts)) < args.book:
            attempts.append(attempt(engine, len(attempts), args))
            print(json.dumps(attempts[-1]), file=work, flush=True)
            if len(attempts) % 20 == 0:
                why = dict(Counter(tried.get("refused", "fit") for tried in attempts))
                print(f"{len(attempts)} attempts: {len(book)} in the book; {why}", file=sys.stderr)
        name = engine.name
    lines = [f"startpos moves {tried['moves']}\n" for tried in book]
    args.out.write_text(header(name, book, len(attempts), args) + "".join(lines), "ascii")


if __name__ == "__main__":
    main()
