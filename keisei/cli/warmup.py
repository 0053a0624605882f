"""``keisei warmup``: train on game records, for a start that ``train`` and ``serve`` take by ``--init``."""

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
from keisei.cli.progress import PLAIN_SECONDS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from torch import Tensor

    from keisei.config import Settings
    from keisei.ppo.supervised import Score
    from keisei.records import GameRecord, Positions

SKIPS_TOLD = 20
"""Games that can't be used are told one by one up to this many, the others counted."""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei warmup``."""
    parser = subparsers.add_parser(
        "warmup", help="train on game records, as a start for self-play", description=__doc__
    )
    parser.add_argument(
        "games", metavar="GAMES", type=Path, nargs="+", help="KIF, KI2, CSA, USI: files or folders"
    )
    settings.add_config(parser)
    parser.add_argument(
        "--run", metavar="DIR", type=Path, help="where the start is put (default: runs/warmup/...)"
    )
    parser.add_argument(
        "--epochs", type=settings.whole, default=10, help="passes over the games (default: 10)"
    )
    parser.add_argument("--minutes", type=float, default=0, help="end earlier, after this long")
    parser.add_argument(
        "--held-out", type=float, default=0.1, help="share of games not learned from (default: 0.1)"
    )
    parser.add_argument(
        "--positions", type=settings.whole, default=1_000_000,
        help="learn from so many, drawn from all games (default: a million; 414 bytes each)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="only list the files and games, and why not"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Read, learn, save the weights that foretell the held-out games best."""
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
    """The games, read and replayed."""

    def __init__(self, args: argparse.Namespace, chosen: "Settings") -> None:
        """Raises UsageError if there is nothing to learn from."""
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
        _tell(
            f"{self.learned:,} games to learn from, {self.held_out:,} held out; "
            f"{len(self.train):,} of {self.plies:,} positions, "
            f"{self.with_result:.1%} with a known result"
        )

    def counts(self) -> dict[str, Any]:
        """For the report."""
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
    """The games at ``paths`` and how many could not be used; those are told on stderr."""
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
            _tell(f"read {number:,} of {len(files):,} files, {len(games):,} games")
    if not games:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{problems[0]}{more}" if problems else f"{files[0]}: no game in it")
    for problem in problems[:SKIPS_TOLD]:
        print(f"keisei: skipped: {problem}", file=sys.stderr)
    if len(problems) > SKIPS_TOLD:
        untold = len(problems) - SKIPS_TOLD
        print(f"keisei: skipped: {untold} more; --dry-run lists them all", file=sys.stderr)
    return games, len(problems)


def _learn(
    lessons: _Lessons,
    chosen: "Settings",
    args: argparse.Namespace,
    directory: Any,
    stop: threading.Event,
) -> dict[str, Any]:
    """Train to the end, the time or the first signal, and save the best weights. Returns the report."""
    import torch

    from keisei.nets.policy import resolve_dtype
    from keisei.nets.registry import build
    from keisei.ppo.supervised import examine, minibatches, teach
    from keisei.store import save_checkpoint

    ppo, seed, device = chosen.ppo, chosen.run.seed, torch.device(chosen.device)
    dtype = resolve_dtype(chosen.compute.dtype, device)
    net = build(**chosen.net.model_dump(), seed=seed).to(device)
    a_pass = minibatches(lessons.train, ppo)
    began = time.monotonic()
    progress = _Progress(len(lessons.train), a_pass, args.epochs)
    rows: list[dict[str, Any]] = []
    weights: dict[str, Tensor] = {}

    def look(epoch: float) -> None:
        score = examine(net, lessons.test, ppo, device, dtype)
        rows.append(_row(epoch, score, score.loss(ppo.value_coefficient)))
        _tell(f"epoch {epoch:g}: held-out games: {_figures(score)}")
        if rows[-1]["loss"] == min(row["loss"] for row in rows):
            weights.update({k: v.detach().cpu().clone() for k, v in net.state_dict().items()})

    look(0)
    steps = teach(
        net, lessons.train, ppo, epochs=args.epochs, seed=seed, device=device, dtype=dtype
    )
    done = 0
    for done, means in enumerate(steps, 1):
        progress.show(done, means)
        if done % a_pass == 0:
            look(done // a_pass)
        if stop.is_set() or (args.minutes and time.monotonic() - began >= args.minutes * 60):
            break
    if done % a_pass:
        look(round(done / a_pass, 2))
    state = {"format": "weights", "iteration": 0, "net": chosen.net.model_dump()}
    best = min(rows, key=lambda row: float(row["loss"]))
    saved = save_checkpoint(directory, 0, {"weights": weights}, state | {"warmup": best})
    return {
        "checkpoint": str(saved),
        **lessons.counts(),
        "best": best,
        "epochs": rows,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "device": chosen.device,
        "dtype": chosen.compute.dtype,
        "threads": chosen.compute.threads,
    }


def _row(epoch: float, score: "Score", loss: float) -> dict[str, Any]:
    """What is known after ``epoch`` passes, of the held-out games; ready for JSON, which has no NaN."""
    value = None if math.isnan(score.loss_value) else round(score.loss_value, 4)
    return {
        "epoch": epoch,
        "accuracy": round(score.accuracy, 4),
        "loss_policy": round(score.loss_policy, 4),
        "loss_value": value,
        "loss": round(loss, 4),
    }


def _figures(score: "Score") -> str:
    value = "unknown" if math.isnan(score.loss_value) else f"{score.loss_value:.3f}"
    return f"top-1 {score.accuracy:.1%}  policy {score.loss_policy:.3f}  value {value}"


class _Progress:
    """A plain line every ten seconds: means since the one before."""

    def __init__(self, positions: int, a_pass: int, epochs: int) -> None:
        self._positions, self._pass, self._total = positions / a_pass, a_pass, epochs * a_pass
        self._begin(0)

    def _begin(self, done: int) -> None:
        self._since, self._first = time.monotonic(), done
        self._sums: Tensor | None = None

    def show(self, done: int, means: "Tensor") -> None:
        """Minibatch ``done`` is learned; ``means`` as ``teach`` yields them."""
        self._sums = means if self._sums is None else self._sums + means
        seconds = time.monotonic() - self._since
        if seconds < PLAIN_SECONDS:
            return
        policy, value, known, hits = (self._sums / (done - self._first)).tolist()
        speed = (done - self._first) * self._positions / seconds
        figures = f"top-1 {hits:.1%}  policy {policy:.3f}  value {value / max(known, 1e-6):.3f}"
        share, epoch = done / self._total, done / self._pass
        _tell(f"{share:4.0%}  epoch {epoch:.1f}  {speed:,.0f} positions/s  {figures}")
        self._begin(done)


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _next(args: argparse.Namespace, report: dict[str, Any]) -> str:
    """The command that goes on from here, with the settings that its network needs."""
    words = ["keisei", "train"]
    words += [word for name in args.config or [] for word in ("--config", name)]
    words += [f"--{key}={value}" for key, value in args.overrides.items() if key.startswith("net.")]
    return shlex.join([*words, "--init", report["checkpoint"]])


def _text(report: dict[str, Any], then: str) -> str:
    best, fresh = report["best"], report["epochs"][0]
    value = "unknown" if best["loss_value"] is None else f"{best['loss_value']:.3f}"
    games, positions = report["games"]["learned"], report["positions"]["learned"]
    where = f"{report['seconds']:.0f} s on {report['device']}"
    top = f"top-1 {best['accuracy']:.1%} (untrained {fresh['accuracy']:.1%})"
    lines = [
        f"{report['checkpoint']}",
        f"  {positions:,} positions of {games:,} games, {where}; best after epoch {best['epoch']:g}",
        f"  held-out games: {top}, policy loss {best['loss_policy']:.3f}, value loss {value}",
        f"  next: {then}",
    ]
    return "\n".join(lines)


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    """Within the block, the first SIGINT, SIGTERM or SIGHUP sets the event; the next one forces."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in process.stopping_signals()}

    def ask(number: int, frame: FrameType | None) -> None:
        process.force_at_next(number)
        stop.set()
        print("stopping; once more to force", file=sys.stderr)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
