"""``keisei warmup``: train on game records; ``train --init`` starts from the result."""

import argparse
import json
import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from keisei.cli import process, settings, survey
from keisei.cli.errors import UsageError
from keisei.cli.streams import PLAIN_SECONDS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from torch import Tensor

    from keisei.config import Settings
    from keisei.ppo.supervised import Examination
    from keisei.records import GameRecord, Positions

SKIPS_SHOWN = 20
"""Largest number of unusable games that are listed; further unusable games are only counted."""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei warmup``."""
    parser = subparsers.add_parser(
        "warmup", help="train on game records, as a start for self-play", description=__doc__
    )
    parser.add_argument(
        "games",
        metavar="GAMES",
        type=Path,
        nargs="+",
        help="KIF, KI2, CSA or USI files, or folders",
    )
    settings.add_config(parser)
    parser.add_argument(
        "--run",
        metavar="DIR",
        type=Path,
        help="directory for the result (default: runs/warmup/...)",
    )
    parser.add_argument(
        "--epochs",
        type=settings.whole,
        metavar="N",
        default=10,
        help="number of passes over the games (default: 10)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        default=0,
        help="end after this many minutes (default: 0, no limit)",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        metavar="N",
        default=0.1,
        help="share of the games that only test the network (default: 0.1)",
    )
    parser.add_argument(
        "--positions", type=settings.whole, metavar="N", default=1_000_000,
        help="largest number of positions to learn from, chosen at random (default: 1000000; "
        "a position takes 414 bytes)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only list the files and games; a refused game is listed with the reason",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Read games, learn from them, and save the weights that predict the held-out games best."""
    if args.dry_run:
        return survey.run(args.games, as_json=args.json)
    for flag, good, bound in (
        ("epochs", args.epochs >= 1, "1 or more"),
        ("minutes", 0 <= args.minutes < math.inf, "0 (no end) or more"),
        ("held-out", 0 < args.held_out < 1, "between 0 and 1"),
        ("positions", args.positions >= 1, "1 or more"),
    ):
        if not good:
            got = getattr(args, flag.replace("-", "_"))
            raise UsageError(f"--{flag}: {bound} (got {got})")
    process.set_up()
    chosen = settings.load(args)
    import torch

    from keisei.runtime.prepare import decide
    from keisei.store import RunDirectory

    with process.problems():
        chosen = decide(chosen)
        torch.set_num_threads(chosen.compute.threads)
        lessons = _Lessons(args, chosen)
        path = args.run or chosen.run.root / "warmup" / time.strftime("%Y%m%d-%H%M%S")
        with RunDirectory.create(chosen, path) as directory, _stopped_by_signal() as stop:
            report = _learn(lessons, chosen, args, directory, stop)
    print(json.dumps(report, indent=2) if args.json else _text(report, _next(args, report)))
    return 0


class _Lessons:
    """The positions to learn from, the held-out positions, and the numbers of games."""

    def __init__(self, args: argparse.Namespace, chosen: "Settings") -> None:
        """Read the games that ``args`` name. Raises UsageError if there are too few games."""
        from keisei.ppo.supervised import hold_out
        from keisei.records import replay

        games, self.skipped = _read(args.games)
        self.read = len(games)
        try:
            learned, held_out = hold_out(games, args.held_out, chosen.run.seed)
        except ValueError as error:
            raise UsageError(f"{args.games[0]}: {error}") from None
        self.learned, self.held_out = len(learned), len(held_out)
        self.plies = sum(len(game.moves) for game in learned)
        max_ply, seed = chosen.env.max_ply, chosen.run.seed
        self.train = replay(learned, max_ply=max_ply, limit=args.positions, seed=seed)
        self.test = replay(held_out, max_ply=max_ply, limit=args.positions, seed=seed)
        self.with_result = _share_with_result(self.train)
        _print_line(
            f"{self.learned:,} games to learn from, {self.held_out:,} held out; "
            f"{len(self.train):,} of {self.plies:,} positions, "
            f"{self.with_result:.1%} with a known result"
        )

    def counts(self) -> dict[str, Any]:
        """Return the numbers of games and positions for the report."""
        return {
            "games": {
                "read": self.read,
                "skipped": self.skipped,
                "repeated": self.read - self.learned - self.held_out,
                "learned": self.learned,
                "held_out": self.held_out,
            },
            "positions": {
                "in_games": self.plies,
                "learned": len(self.train),
                "held_out": len(self.test),
                "with_result": round(self.with_result, 4),
            },
        }


def _share_with_result(positions: "Positions") -> float:
    return float((positions.outcome >= 0).mean())


def _read(paths: list[Path]) -> tuple[list["GameRecord"], int]:
    """Return the games in ``paths`` and the number of unusable games.

    Print the unusable games, but at most ``SKIPS_SHOWN`` of them.
    """
    from keisei.records import RecordError, read_games, record_files

    games: list[GameRecord] = []
    problems: list[RecordError] = []
    try:
        files = record_files(paths)
    except RecordError as error:
        raise UsageError(str(error)) from None
    due = time.monotonic() + PLAIN_SECONDS
    for number, file in enumerate(files, 1):
        for found in read_games(file):
            if isinstance(found, RecordError):
                problems.append(found)
            else:
                games.append(found)
        if time.monotonic() > due:
            due += PLAIN_SECONDS
            _print_line(f"read {number:,} of {len(files):,} files, {len(games):,} games")
    if not games:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{problems[0]}{more}" if problems else f"{files[0]}: contains no game")
    for problem in problems[:SKIPS_SHOWN]:
        print(f"keisei: skipped: {problem}", file=sys.stderr)
    if len(problems) > SKIPS_SHOWN:
        others = len(problems) - SKIPS_SHOWN
        print(f"keisei: skipped: {others} more; --dry-run lists all of them", file=sys.stderr)
    return games, len(problems)


def _learn(
    lessons: _Lessons,
    chosen: "Settings",
    args: argparse.Namespace,
    directory: Any,
    stop: threading.Event,
) -> dict[str, Any]:
    """Train until the last epoch, the time limit or a signal. Save the best weights."""
    import torch

    from keisei.nets.policy import resolve_dtype
    from keisei.nets.registry import build
    from keisei.ppo.supervised import minibatches, train
    from keisei.store import save_checkpoint

    device, seed = torch.device(chosen.device), chosen.run.seed
    progress = _Progress(len(lessons.train), minibatches(lessons.train, chosen.ppo), args.epochs)
    net = build(**chosen.net.model_dump(), seed=seed).to(device)
    began = time.monotonic()
    until = began + args.minutes * 60 if args.minutes else math.inf
    trained = train(
        net,
        lessons.train,
        lessons.test,
        chosen.ppo,
        epochs=args.epochs,
        seed=seed,
        device=device,
        dtype=resolve_dtype(chosen.compute.dtype, device),
        should_stop=lambda: stop.is_set() or time.monotonic() >= until,
        on_minibatch=progress.show,
        on_examination=_print_examination,
    )
    best = _row(trained.best)
    state = {"format": "weights", "iteration": 0, "net": chosen.net.model_dump(), "warmup": best}
    saved = save_checkpoint(directory, 0, {"weights": trained.weights}, state)
    return {
        "checkpoint": str(saved),
        **lessons.counts(),
        "best": best,
        "epochs": [_row(found) for found in trained.examinations],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "device": chosen.device,
        "dtype": chosen.compute.dtype,
        "threads": chosen.compute.threads,
    }


def _row(found: "Examination") -> dict[str, Any]:
    """Return an examination as a JSON object. NaN becomes None, because JSON has no NaN."""
    score = found.score
    value = None if math.isnan(score.loss_value) else round(score.loss_value, 4)
    return {
        "epoch": found.epoch,
        "accuracy": round(score.accuracy, 4),
        "loss_policy": round(score.loss_policy, 4),
        "loss_value": value,
        "loss": round(found.loss, 4),
    }


def _print_examination(found: "Examination") -> None:
    score = found.score
    value = "unknown" if math.isnan(score.loss_value) else f"{score.loss_value:.3f}"
    figures = f"top-1 {score.accuracy:.1%}  policy {score.loss_policy:.3f}  value {value}"
    _print_line(f"epoch {found.epoch:g}: held-out games: {figures}")


class _Progress:
    """Every ``PLAIN_SECONDS``, prints the means over the minibatches since the last output."""

    def __init__(self, positions: int, minibatches: int, epochs: int) -> None:
        """One epoch has ``minibatches`` minibatches, with ``positions`` positions altogether."""
        self._size = positions / minibatches
        self._epoch, self._total = minibatches, epochs * minibatches
        self._begin(0)

    def _begin(self, done: int) -> None:
        self._since, self._first = time.monotonic(), done
        self._sums: Tensor | None = None

    def show(self, done: int, means: "Tensor") -> None:
        """Add minibatch number ``done``. ``means`` are this minibatch's means, from ``teach``."""
        self._sums = means if self._sums is None else self._sums + means
        seconds = time.monotonic() - self._since
        if seconds < PLAIN_SECONDS:
            return
        policy, value, known, hits = (self._sums / (done - self._first)).tolist()
        speed = (done - self._first) * self._size / seconds
        figures = f"top-1 {hits:.1%}  policy {policy:.3f}  value {value / max(known, 1e-6):.3f}"
        share, epoch = done / self._total, done / self._epoch
        _print_line(f"{share:4.0%}  epoch {epoch:.1f}  {speed:,.0f} positions/s  {figures}")
        self._begin(done)


def _print_line(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _next(args: argparse.Namespace, report: dict[str, Any]) -> str:
    """Return the command that trains the saved network further by self-play."""
    words = ["keisei", "train"]
    words += [word for name in args.config or [] for word in ("--config", name)]
    words += [f"--{key}={value}" for key, value in args.overrides.items() if key.startswith("net.")]
    return shlex.join([*words, "--init", report["checkpoint"]])


def _text(report: dict[str, Any], command: str) -> str:
    """Return the report as text. The last line suggests ``command`` as the next command."""
    best, fresh = report["best"], report["epochs"][0]
    value = "unknown" if best["loss_value"] is None else f"{best['loss_value']:.3f}"
    games, positions = report["games"]["learned"], report["positions"]["learned"]
    where = f"{report['seconds']:.0f} s on {report['device']}"
    top = f"top-1 {best['accuracy']:.1%} (untrained {fresh['accuracy']:.1%})"
    lines = [
        f"{report['checkpoint']}",
        f"  {positions:,} positions of {games:,} games, {where}; best after epoch {best['epoch']:g}",
        f"  held-out games: {top}, policy loss {best['loss_policy']:.3f}, value loss {value}",
        f"  next: {command}",
    ]
    return "\n".join(lines)


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    """Yield a threading.Event that the first stop signal sets.

    The next signal ends the process, as ``process.force_at_next`` describes.
    """
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in process.stopping_signals()}

    def request_stop(number: int, frame: FrameType | None) -> None:
        process.force_at_next(number)
        stop.set()
        print("stopping; send the signal again to end at once", file=sys.stderr)

    for number in before:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
