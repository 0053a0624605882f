"""``keisei evaluate``: play a run or a checkpoint against a local player or an engine."""

import argparse
import json
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError, EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Callable

    from keisei.evaluation import Match, MatchSpec
    from keisei.evaluation.engine_match import EngineMatch, EngineMatchSpec
    from keisei.runtime.players import Player
    from keisei.usi import EngineSpec


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei evaluate``."""
    parser = subparsers.add_parser("evaluate", help="measure an agent", description=__doc__)
    parser.add_argument(
        "agent", metavar="RUN|CHECKPOINT", type=Path, help="directory; of a run, the newest valid"
    )
    parser.add_argument(
        "--opponent",
        type=_opponent,
        default="random",
        metavar="random|material|usi:PATH?nodes=N&OPTION=VALUE",
        help="who plays against it; an engine as docs/guide/engines.md says (default: random)",
    )
    parser.add_argument("--games", type=int, default=200, help="half from each seat (default: 200)")
    parser.add_argument(
        "--greedy", action="store_true", help="play the most probable move, draw none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of both players (default: 0)")
    parser.add_argument("--device", default="auto", type=_device, help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch's; more only pay on idle cores (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Play the match and print its result."""
    process.set_up()
    import torch

    from keisei.runtime.players import load

    if args.threads < 1:
        raise UsageError(f"--threads: 1 or more (got {args.threads})")
    # Beside a running training, two threads that wait for each other are 20 times slower than one.
    torch.set_num_threads(args.threads)
    engine = _engine(args)
    if engine is None:
        _spec(args)  # a wrong number is told before anything slow
    with process.problems():
        player = load(args.agent, args.device, seed=args.seed)
    for error in player.refused:
        print(f"keisei: refused: {error}", file=sys.stderr)
    if engine is not None:
        return _play_engine(args, player, engine)
    spec = _spec(args, declaration=player.declaration, trained_max_ply=player.max_ply)
    began = time.monotonic()
    match = _play(player, spec)
    report = _report(player, spec, args, match.result().to_dict(), time.monotonic() - began)
    print(json.dumps(report, indent=2) if args.json else _text(report))
    return 0


def _spec(args: argparse.Namespace, **more: Any) -> "MatchSpec":
    from keisei.evaluation import MatchSpec

    try:
        return MatchSpec(
            opponent=args.opponent, games=args.games, greedy=args.greedy, seed=args.seed, **more
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from None


def _opponent(text: str) -> str:
    if text in {"random", "material"} or text.startswith("usi:"):
        return text
    raise argparse.ArgumentTypeError(f"random, material or usi:PATH?nodes=500 (got {text!r})")


def _engine(args: argparse.Namespace) -> "EngineSpec | None":
    from keisei.usi import EngineSpec, EngineSpecError

    if not args.opponent.startswith("usi:"):
        return None
    try:
        return EngineSpec.parse(args.opponent)
    except EngineSpecError as error:
        raise UsageError(f"--opponent: {error}") from None


def _play_engine(args: argparse.Namespace, player: "Player", engine: "EngineSpec") -> int:
    import anyio

    from keisei.evaluation.engine_match import EngineMatchSpec, random_openings
    from keisei.runtime.engines import play_match
    from keisei.usi import EngineError, EngineStartError

    try:
        spec = EngineMatchSpec(
            games=args.games,
            openings=random_openings(args.games // 2, args.seed),
            declaration=player.declaration,
            trained_max_ply=player.max_ply,
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from None

    async def choose(observation: Any, mask: Any) -> Any:
        return player.agent.choose(observation, mask, greedy=args.greedy)[0]

    began = time.monotonic()
    try:
        with _progress(spec) as show:
            found = anyio.run(partial(play_match, spec, engine, choose, show=show))
    except EngineStartError as error:
        raise EnvironmentProblem(str(error)) from error
    except EngineError as error:
        raise CommandError(str(error)) from error
    report = _report(player, spec, args, found.to_dict(), time.monotonic() - began)
    print(json.dumps(report, indent=2) if args.json else _text(report))
    if found.error:
        raise CommandError(f"ended after {found.match.games} games: {found.error}")
    return 0


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"auto, cpu, cuda or cuda:N (got {text!r})")
    return text


def _play(player: "Player", spec: "MatchSpec") -> "Match":
    from keisei.evaluation import Match

    match = Match(spec)
    with _progress(spec) as show:
        while (wanted := match.request()) is not None:
            match.answer(player.agent.choose(*wanted, greedy=spec.greedy)[0])
            show(match)
    return match


def _report(
    player: "Player",
    spec: "MatchSpec | EngineMatchSpec",
    args: argparse.Namespace,
    result: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    return {
        "checkpoint": str(player.checkpoint),
        "step": player.step,
        "opponent": args.opponent,
        "greedy": args.greedy,
        "seed": args.seed,
        "max_ply": spec.max_ply,
        "declaration": spec.declaration,
        **result,
        "seconds": round(seconds, 3),
        "device": str(player.agent.device),
        "dtype": str(player.agent.dtype).removeprefix("torch."),
    }


def _text(report: dict[str, Any]) -> str:
    low, high = report["interval"]
    how = "most probable moves" if report["greedy"] else "moves drawn from the policy"
    where = f"{report['seconds']:.1f} s on {report['device']}"
    lines = [
        f"{report['checkpoint']} (step {report['step']:,}) against {report['opponent']}",
        f"  {report['games']} games, half from each seat, {how}, seed {report['seed']}, {where}",
        f"  score {report['score']:.3f}   95 % interval {low:.3f} to {high:.3f}",
    ]
    for kind in ("wins", "draws", "losses"):
        ends = report["by_reason"][kind]
        reasons = ", ".join(f"{reason} {count}" for reason, count in ends.items())
        lines.append(f"  {kind:<7}{report[kind]:>5}   {reasons}".rstrip())
    lines.append(f"  capped {report['capped']:>5}   at {report['max_ply']} plies")
    if "engine" in report:
        faults = ", ".join(f"{kind} {count}" for kind, count in report["faults"].items())
        lines.append(f"  engine {report['engine']}: {report['engine_cpu_seconds']:.1f} s of CPU")
        lines.append(f"  faults, replayed: {faults}")
    return "\n".join(lines)


def _progress(
    spec: "MatchSpec | EngineMatchSpec",
) -> "AbstractContextManager[Callable[[Match | EngineMatch], None]]":
    """Shows how far the match is, on a terminal."""
    if not sys.stderr.isatty():
        return nullcontext(lambda match: None)
    return _Bar(spec)


class _Bar:
    """A progress bar on stderr, gone when the match is over."""

    def __init__(self, spec: "MatchSpec | EngineMatchSpec") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._games = spec.games
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("games   {task.fields[score]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=spec.games, score="")

    def __enter__(self) -> "Callable[[Match | EngineMatch], None]":
        self._bar.start()
        return self._show

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def _show(self, match: "Match | EngineMatch") -> None:
        score = "" if match.score is None else f"score {match.score:.3f}"
        done = round(match.progress * self._games)
        self._bar.update(self._task, completed=done, score=score)
