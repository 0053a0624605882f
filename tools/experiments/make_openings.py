#!/usr/bin/env python
"""Make the opening book that ships with Keisei: short balanced lines from the start position.

    python tools/experiments/make_openings.py --work openings.jsonl --out keisei/evaluation/openings.usi

One attempt: draw a length from ``--plies``; at each ply ask a USI engine (default: Debian's
fairy-stockfish) for its ``--lines`` best moves at ``--depth`` and draw one among those within ``--margin``
of the best; a side that is ahead by more than ``--limit`` draws from the worse half of these, one that is
behind from the better. The final position is kept if a search with ``--judge-nodes`` says that nobody is
ahead by more than ``--limit``, the king is not in check, there are ``--legal`` legal moves or more, and it
is not in the book already. Scores are in the engine's hundredths of a pawn.

Fairy-Stockfish 11.1 is biased: it gives black 164 in the start position, and 102 even if white moves first.
So it chooses seeing either side as black, and judges each position also turned round with the colours
swapped; the mean of the two counts.

The engine works by depth and nodes, on one thread, and forgets all before each attempt and each judgement:
an attempt is a function of the seed, its number and the engine alone. ``--work`` keeps one JSON object an
attempt; a run that was broken off goes on where it stopped, if started with the same flags.
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
"""Squares, as the other side sees them."""


def turned(sfen: str) -> str:
    """The position with the board turned round and the colours swapped."""
    board, side, hands, _ = sfen.split()
    men = re.findall(r"\+?.", board)[::-1]
    return f"{''.join(men).swapcase()} {'w' if side == 'b' else 'b'} {hands.swapcase()} 1"


def search(engine: Engine, sfen: str, limit: str, lines: int) -> list[tuple[int, str]]:
    """Score and move of the best lines, best first. One whose score is a mate is left out."""
    engine.say(f"setoption name MultiPV value {lines}")
    engine.say(f"position sfen {sfen}")
    said = engine.ask(f"go {limit}", "bestmove")
    last = {match[1]: (int(match[2]), match[3]) for line in said if (match := _LINE.match(line))}
    return sorted(last.values(), reverse=True)


def forget(engine: Engine) -> None:
    """Empty all of the engine's tables: ``usinewgame`` would leave those of a thread as they are."""
    engine.say("setoption name Threads value 1")
    engine.say("usinewgame")
    engine.ask("isready", "readyok")


def judge(engine: Engine, sfen: str, nodes: int) -> int | None:
    """Score for the side to move, without the engine's bias for a colour; None: a mate."""
    scores = []
    for view in (sfen, turned(sfen)):
        forget(engine)
        scores += [score for score, _ in search(engine, view, f"nodes {nodes}", 1)]
    return round(sum(scores) / 2) if len(scores) == 2 else None


def draw(engine: Engine, plies: int, rng: random.Random, args: argparse.Namespace) -> list[str]:
    """The moves of a line. Raises ValueError with the reason if there is no going on."""
    position, moves, before = Position(), list[str](), 0
    forget(engine)
    while len(moves) < plies:
        white = position.side == "white"
        view = turned(position.sfen()) if white else position.sfen()
        found = search(engine, view, f"depth {args.depth}", args.lines)
        if not found:
            raise ValueError("mate")
        best = found[0][0]
        # So shallow a search flatters the side to move; over two plies that cancels out.
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
    """One attempt; ``refused`` says why it is not for the book, apart from a twin in it."""
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
    """Those for the book: of several that end in one position the first."""
    book: dict[str, dict[str, Any]] = {}
    for tried in attempts:
        if "refused" not in tried:
            book.setdefault(tried["final"], tried)
    return list(book.values())


def quantiles(values: list[int]) -> str:
    """Least, quartiles and greatest."""
    ranked = sorted(values)
    return " ".join(str(ranked[(len(ranked) - 1) * part // 4]) for part in range(5))


def header(name: str, book: list[dict[str, Any]], tries: int, args: argparse.Namespace) -> str:
    """How the book was made and what is in it, as comments."""
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
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="/usr/games/fairy-stockfish")
    parser.add_argument("--book", type=int, default=640, help="lines wanted")
    parser.add_argument("--plies", type=int, nargs=2, default=(8, 24), metavar=("LOW", "HIGH"))
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--margin", type=int, default=100)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--judge-nodes", type=int, default=30_000)
    parser.add_argument("--legal", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Try until there are enough, then write the book."""
    args = arguments()
    attempts = [json.loads(line) for line in args.work.open()] if args.work.exists() else []
    with Engine(args.engine, args.judge_nodes) as engine, args.work.open("a") as work:
        # With Contempt, the side to move sees its own chances in a rosy light.
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
