"""``keisei evaluate``: measure the strength of a run or checkpoint against players and engines."""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from keisei.cli import process
from keisei.cli.errors import CommandError, EnvironmentProblem, UsageError
from keisei.cli.evaluation_report import as_json, as_text, live_table, matches_of
from keisei.cli.settings import whole
from keisei.hint import did_you_mean
from keisei.match_rules import MatchRules
from keisei.resources import SHIPPED, player_folder

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from keisei.evaluation.spec import EvaluationSpec
    from keisei.play.archive import Archive

REJECTED = 4
"""Exit code when a sequential test has decided against the agent."""
_KEPT = (
    "If the first agent is a run, or a checkpoint in a run's folder, the run's database stores the "
    "games, the result and the ratings: see keisei games and keisei ratings. To continue such an "
    "evaluation after an interruption, give the same command again."
)


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei evaluate``."""
    parser = subparsers.add_parser(
        "evaluate", help="measure an agent", description=__doc__, epilog=_KEPT
    )
    parser.add_argument(
        "agents",
        metavar="RUN|CHECKPOINT",
        nargs="+",
        help="directory of a checkpoint, or of a run, whose newest valid checkpoint plays; shipped: "
        "the network that ships with Keisei; with a tree search: RUN?simulations=64 (see "
        "docs/guide/search.md for all options)",
    )
    parser.add_argument(
        "--opponent",
        action="append",
        metavar="PLAYER",
        help="random, material, shipped, a run, a checkpoint, the name of an engine in the first "
        "agent's run.toml, or usi:PATH?nodes=N&OPTION=VALUE (see docs/guide/engines.md); repeat the flag "
        "for more opponents (default: random)",
    )
    parser.add_argument(
        "--strategy",
        default="single",
        metavar="NAME",
        help="single, gauntlet, round_robin, ladder, benchmark, or a strategy of an installed package "
        "(default: single)",
    )
    parser.add_argument(
        "--sprt",
        metavar="ELO0,ELO1",
        help="sequential test between these two Elo differences: a match ends when the test decides; "
        f"exit code {REJECTED} if ELO0 is accepted; for a negative ELO0 write --sprt=-5,0",
    )
    parser.add_argument(
        "--openings",
        type=Path,
        metavar="FILE",
        help="file of openings (default: Keisei's own file)",
    )
    for rule in fields(MatchRules):
        _add_rule(parser, rule)
    parser.add_argument(
        "--device", metavar="NAME", default="auto", type=_device, help="auto, cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--threads",
        type=whole,
        metavar="N",
        default=1,
        help="number of torch's threads; more than 1 helps only on idle cores (default: 1)",
    )
    parser.add_argument(
        "--concurrency",
        type=whole,
        metavar="N",
        default=2,
        help="number of games at once against an engine, each with its own engine process (default: 2)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS|local",
        help="play the games of networks on a Ray cluster: HOST:PORT, auto, or local (a cluster of its "
        "own on this machine); needs keisei[ray]; games against engines stay on this machine",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_rule(parser: argparse.ArgumentParser, rule: "Field[Any]") -> None:
    """Add the flag that sets a rule.

    Without the flag, ``declaration`` is the first agent's; any other rule has its default value.
    """
    flag = f"--{rule.name.replace('_', '-')}"
    text = rule.metadata["description"].rstrip(".")
    text = text[0].lower() + text[1:]
    if rule.type is bool:
        parser.add_argument(flag, action="store_true", default=None, help=text)
        return
    choices = get_args(rule.type)
    kind: dict[str, Any] = {"type": whole if rule.type is int else float, "metavar": "N"}
    if choices:
        kind = {"type": type(choices[0]), "choices": choices}
    default = "the first agent's" if rule.name == "declaration" else rule.default
    parser.add_argument(flag, **kind, help=f"{text} (default: {default})")


def run(args: argparse.Namespace) -> int:
    """Play the matches and print their result."""
    process.set_up()
    import anyio

    if args.threads < 1:
        raise UsageError(f"--threads: 1 or more (got {args.threads})")
    if args.ray and ":" in args.device:
        raise UsageError(f"--device: with --ray, Ray chooses the GPU: use cuda (got {args.device})")
    _spec(args)  # raises UsageError for a wrong flag before slow work begins
    with process.problems():
        spec, run = _resolve(args)
        archive = _begin(run, spec) if run else None
    began = time.monotonic()
    try:
        with process.problems():
            result, errors = anyio.run(partial(_play, args, spec, archive))
    except KeyboardInterrupt:
        if archive:
            print("keisei: interrupted; give the same command again to continue", file=sys.stderr)
        raise
    if result or args.json:
        report = {
            "evaluation": archive.id if archive else None,
            **(as_json(spec, args, result) if result else {}),
            "seconds": round(time.monotonic() - began, 3),
        }
        if errors:
            report["error"] = str(errors[0])
        print(json.dumps(report, indent=2) if args.json else as_text(report, spec))
    for error in errors[1:]:
        _warn(str(error))
    if errors:
        _fail(errors[0])
    verdicts = [match["sprt"]["decision"] for match in matches_of(result) if "sprt" in match]
    return REJECTED if "reject" in verdicts else 0


def _spec(args: argparse.Namespace, **more: Any) -> "EvaluationSpec":
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.evaluation.sprt import Sprt

    try:
        sprt = Sprt.parse(args.sprt) if args.sprt else None
    except ValueError as error:
        raise UsageError(f"--sprt: {error}") from None
    opponents = args.opponent or ([] if args.strategy == "benchmark" else ["random"])
    settings = {
        "agents": tuple(args.agents),
        "opponents": tuple(opponents),
        "strategy": args.strategy,
        "sprt": (sprt.elo0, sprt.elo1) if sprt else None,
        "openings": args.openings and str(args.openings.absolute()),
        "concurrency": args.concurrency,
    }
    given = {rule.name: getattr(args, rule.name) for rule in fields(MatchRules)}
    rules = {name: value for name, value in given.items() if value is not None}
    try:
        return EvaluationSpec(**settings | more | rules)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        flag = {"agents": "RUN|CHECKPOINT", "opponents": "--opponent"}.get(field)
        flag = flag or f"--{field.replace('_', '-')}"
        raise UsageError(f"{flag}: {message}") from None


def _resolve(args: argparse.Namespace) -> tuple["EvaluationSpec", Path | None]:
    """Return the spec, and the folder of the run that stores the games (None: no run stores them).

    In the spec, each run is replaced by its newest valid checkpoint. Raises CheckpointError,
    RunError, UsageError.
    """
    from keisei.evaluation.network_options import split_options
    from keisei.evaluation.openings import load_openings
    from keisei.store.export import trained_with
    from keisei.store.layout import CHECKPOINTS, DATABASE_FILE

    agents = [_network(text) for text in _spec(args).agents]
    first = Path(split_options(agents[0])[0])
    trained = trained_with(first)
    opponents = [_opponent(text, trained.evaluation.engines) for text in _spec(args).opponents]
    if args.openings:
        try:
            load_openings(args.openings)
        except ValueError as error:
            raise UsageError(f"--openings: {error}") from None
    spec = _spec(
        args,
        agents=tuple(agents),
        opponents=tuple(opponents),
        declaration=trained.env.declaration,
    )
    folder = first.parent
    kept = folder.name == CHECKPOINTS and (folder.parent / DATABASE_FILE).exists()
    return spec, folder.parent if kept else None


def _begin(run: Path, spec: "EvaluationSpec") -> "Archive":
    """Begin the evaluation in the run's database, or continue it after an interruption."""
    from keisei.play.archive import Archive

    archive = Archive.begin(run, spec)
    if games := archive.games():
        text = f"keisei: continuing after {len(games)} games of evaluation {archive.id}"
        print(text, file=sys.stderr)
    return archive


def _network(text: str) -> str:
    """Return a network's text with the path of its checkpoint. Raises CheckpointError."""
    from keisei.evaluation.network_options import split_options

    name, options = split_options(text)
    return _checkpoint(str(player_folder(name))) + (f"?{options}" if options else "")


def _checkpoint(path: str) -> str:
    from keisei.store import find_checkpoint
    from keisei.store.checkpoints import WEIGHTS

    folder, refused = find_checkpoint(Path(path), only=WEIGHTS)
    for error in refused:
        print(f"keisei: refused: {error}", file=sys.stderr)
    return str(folder.absolute())


def _opponent(text: str, engines: Mapping[str, str]) -> str:
    from keisei.evaluation.network_options import split_options
    from keisei.evaluation.spec import ENGINE, LOCAL
    from keisei.usi import EngineSpec, EngineSpecError

    if text in LOCAL:
        return text
    text = engines.get(text, text)
    if text.startswith(ENGINE):
        try:
            EngineSpec.parse(text)
        except EngineSpecError as error:
            raise UsageError(f"--opponent: {error}") from None
        return text
    name = split_options(text)[0]
    if name != SHIPPED and not Path(name).exists():
        known = [*LOCAL, SHIPPED, *engines]
        hint = did_you_mean(name, known) or (
            f"; allowed are {', '.join(known)}, a run, a checkpoint or usi:PATH?nodes=500"
        )
        raise UsageError(f"--opponent: {name}: no such file or folder{hint}")
    return _network(text)


async def _play(
    args: argparse.Namespace, spec: "EvaluationSpec", archive: "Archive | None"
) -> tuple[dict[str, Any], list[Exception]]:
    """Play the games. Return the result, and the errors from playing and from storing games."""
    from keisei.play.arena import local_arena
    from keisei.play.cluster import cluster_arena
    from keisei.play.evaluation import play_to_the_end
    from keisei.play.tournament import Tournament

    latest: dict[str, Any] = {}
    follow: dict[str, Any] = {"on_progress": lambda progress: latest.update(progress.to_fields())}
    if archive:
        follow |= {"keep": archive.add, "kept": archive.games()}
    opened = (
        cluster_arena(args.ray, args.device, args.threads)
        if args.ray
        else local_arena(args.device, args.threads, _warn)
    )
    async with opened as arena:
        tournament = Tournament(spec, arena, **follow)
        try:
            with live_table(tournament):
                ending = await play_to_the_end(tournament)
        except BaseException:
            if archive:
                with suppress(Exception):  # an error here must not hide the first exception
                    archive.end("cancelled", latest)
                    archive.rate()
            raise
    errors = [ending.error or CommandError(ending.message)] if ending.message else []
    if archive:
        end = latest | {"result": ending.result or None, "message": ending.message}
        try:
            archive.end(ending.state, end | ({} if ending.message else {"progress": 1.0}))
            archive.rate()
        except Exception as error:  # noqa: BLE001 (reported after the result)
            errors.append(error)
    return ending.result, errors


def _fail(error: Exception) -> NoReturn:
    """Raise the error. Turn a known error into a CommandError, which has an exit code."""
    from keisei.usi import EngineError, EngineStartError

    with process.problems():
        try:
            raise error
        except EngineStartError:
            raise EnvironmentProblem(str(error)) from error
        except EngineError:
            raise CommandError(str(error)) from error


def _warn(text: str) -> None:
    print(f"keisei: {text}", file=sys.stderr)


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N (got {text!r})")
    return text
