"""``keisei evaluate``: how strong a run or a checkpoint is, against players and engines."""

import argparse
import json
import re
import secrets
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from keisei.cli import process
from keisei.cli.errors import CommandError, EnvironmentProblem, UsageError
from keisei.cli.ratings import table
from keisei.cli.settings import whole
from keisei.hint import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from rich.table import Table

    from keisei.evaluation.spec import EvaluationSpec
    from keisei.play.tournament import Progress, Tournament
    from keisei.store.matches import MatchGame

REJECTED = 4
"""Exit code when a sequential test has decided against the agent."""
_KEPT = (
    "Games, result and ratings are kept in the run of the first agent, if its checkpoint lies in one: "
    "see keisei games and keisei ratings. Broken off, the same command goes on."
)


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei evaluate``."""
    parser = subparsers.add_parser(
        "evaluate", help="measure an agent", description=__doc__, epilog=_KEPT
    )
    parser.add_argument(
        "agents",
        metavar="RUN|CHECKPOINT",
        type=Path,
        nargs="+",
        help="directory; of a run, the newest valid checkpoint",
    )
    parser.add_argument(
        "--opponent",
        action="append",
        metavar="PLAYER",
        help="random, material, a run or checkpoint, an engine that the first agent's run.toml "
        "names, or one as docs/guide/engines.md says, usi:PATH?nodes=N&OPTION=VALUE; again for "
        "more (default: random)",
    )
    parser.add_argument(
        "--strategy",
        default="single",
        metavar="NAME",
        help="single, gauntlet, round_robin, ladder, benchmark, or a package's (default: single)",
    )
    parser.add_argument(
        "--games", type=whole, default=200, help="of each match, half from each seat (default: 200)"
    )
    parser.add_argument(
        "--sprt",
        metavar="ELO0,ELO1",
        help="end a match once its pairs have decided between these two differences "
        f"(--sprt=-5,0 where the first is negative); exit code {REJECTED} if for ELO0",
    )
    parser.add_argument(
        "--resign",
        type=float,
        default=0.0,
        metavar="VALUE",
        help="a network gives up after three moves of its own in a row at which it expected this "
        "result or a worse one, from -1 (surely lost) to 0: --resign=-0.95 (default: 0, it never does)",
    )
    parser.add_argument("--openings", type=Path, metavar="FILE", help="instead of the shipped book")
    parser.add_argument(
        "--greedy", action="store_true", help="networks play their most probable move, draw none"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of all players (default: 0)")
    parser.add_argument("--device", default="auto", type=_device, help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=whole, default=1, help="torch's; more only pay on idle cores (default: 1)"
    )
    parser.add_argument(
        "--concurrency", type=whole, default=2, help="games at once against an engine (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Play the matches and print their result."""
    process.set_up()
    import anyio

    if args.threads < 1:
        raise UsageError(f"--threads: 1 or more (got {args.threads})")
    _spec(args)  # a wrong number is told before anything slow
    with process.problems():
        spec, home = _bring_in(args)
        kept = _Kept.find(home, spec) if home else None
    began = time.monotonic()
    try:
        with process.problems():
            result, errors = anyio.run(partial(_play, args, spec, kept))
    except KeyboardInterrupt:
        if kept:
            print("keisei: broken off; the same command goes on", file=sys.stderr)
        raise
    if result or args.json:
        report = {
            "evaluation": kept.id if kept else None,
            **(_report(spec, args, result) if result else {}),
            "seconds": round(time.monotonic() - began, 3),
        }
        if errors:
            report["error"] = str(errors[0])
        print(json.dumps(report, indent=2) if args.json else _text(report, spec))
    for error in errors[1:]:
        _warn(str(error))
    if errors:
        _fail(errors[0])
    verdicts = [match["sprt"]["decision"] for match in _matches(result) if "sprt" in match]
    return REJECTED if "reject" in verdicts else 0


def _spec(args: argparse.Namespace, **more: Any) -> "EvaluationSpec":
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.evaluation.sprt import Sprt

    try:
        sprt = Sprt.parse(args.sprt) if args.sprt else None
    except ValueError as error:
        raise UsageError(f"--sprt: {error}") from None
    opponents = args.opponent or ([] if args.strategy == "benchmark" else ["random"])
    fields = {
        "agents": tuple(map(str, args.agents)),
        "opponents": tuple(opponents),
        "strategy": args.strategy,
        "games": args.games,
        "greedy": args.greedy,
        "seed": args.seed,
        "resign": args.resign,
        "sprt": (sprt.elo0, sprt.elo1) if sprt else None,
        "openings": args.openings and str(args.openings.absolute()),
        "concurrency": args.concurrency,
    }
    try:
        return EvaluationSpec(**fields | more)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        flag = {"agents": "RUN|CHECKPOINT", "opponents": "--opponent"}.get(field, f"--{field}")
        raise UsageError(f"{flag}: {message}") from None


def _bring_in(args: argparse.Namespace) -> tuple["EvaluationSpec", Path | None]:
    """The spec with checkpoints for runs, and the run whose database keeps the games, if any.

    Raises CheckpointError, RunError, UsageError.
    """
    from keisei.evaluation.openings import load_openings
    from keisei.store.checkpoints import CHECKPOINTS
    from keisei.store.directory import DATABASE_FILE, trained_with

    agents = [_checkpoint(str(path)) for path in args.agents]
    trained = trained_with(Path(agents[0]))
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
    folder = Path(agents[0]).parent
    kept = folder.name == CHECKPOINTS and (folder.parent / DATABASE_FILE).exists()
    return spec, folder.parent if kept else None


def _checkpoint(path: str) -> str:
    from keisei.store import find_checkpoint
    from keisei.store.checkpoints import WEIGHTS

    folder, refused = find_checkpoint(Path(path), only=WEIGHTS)
    for error in refused:
        print(f"keisei: refused: {error}", file=sys.stderr)
    return str(folder.absolute())


def _opponent(text: str, engines: Mapping[str, str]) -> str:
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
    if not Path(text).exists():
        known = [*LOCAL, *engines]
        hint = did_you_mean(text, known) or (
            f"; it may be {', '.join(known)}, a run, a checkpoint or usi:PATH?nodes=500"
        )
        raise UsageError(f"--opponent: {text}: no such file or folder{hint}")
    return _checkpoint(text)


async def _play(
    args: argparse.Namespace, spec: "EvaluationSpec", kept: "_Kept | None"
) -> tuple[dict[str, Any], list[Exception]]:
    """The result of what was played, and what ended it early or kept it from being kept."""
    from keisei.play.arena import local_arena
    from keisei.play.tournament import Tournament
    from keisei.runtime.evaluations import ended_early, keep_games

    follow: dict[str, Any] = {}
    if kept:
        keep = partial(keep_games, kept.home, kept.id)
        follow = {"keep": keep, "kept": kept.games, "show": kept.show}
    async with local_arena(args.device, args.threads, _warn) as arena:
        tournament, message = Tournament(spec, arena, **follow), ""
        errors: list[Exception] = []
        try:
            with _live(tournament):
                result = await tournament.run()
        except Exception as error:  # noqa: BLE001 (told after what was played)
            errors, message = [error], f"{type(error).__name__}: {error}"
            result = tournament.result()
        except BaseException:
            if kept:
                with suppress(Exception):  # the one that is on its way counts
                    kept.end("cancelled")
            raise
    if not errors and (message := ended_early(result)):
        errors = [CommandError(message)]
    if kept:
        try:
            kept.end("failed" if message else "done", result=result or None, message=message)
        except Exception as error:  # noqa: BLE001 (told after what was played)
            errors.append(error)
    return result, errors


def _fail(error: Exception) -> NoReturn:
    """Raise it, if it has an exit code of its own with that."""
    from keisei.usi import EngineError, EngineStartError

    with process.problems():
        try:
            raise error
        except EngineStartError:
            raise EnvironmentProblem(str(error)) from error
        except EngineError:
            raise CommandError(str(error)) from error


@dataclass(slots=True)
class _Kept:
    """The evaluation in the run's database; one that was broken off goes on."""

    home: Path
    id: str
    games: "list[MatchGame]"
    progress: "Progress | None" = None

    @classmethod
    def find(cls, home: Path, spec: "EvaluationSpec") -> "_Kept":
        """Begin it. Raises CheckpointError, DatabaseError."""
        from keisei.store import RunReader
        from keisei.store.checkpoints import read_manifest
        from keisei.store.matches import MatchTable

        known = [
            row["id"]
            for row in RunReader(home).evaluations()
            if row.get("command") and row["state"] != "done"
            and row.get("spec") == json.loads(json.dumps(spec.to_dict()))
        ]  # fmt: skip
        id = known[0] if known else secrets.token_hex(4)
        with closing(MatchTable(home)) as table:
            games = table.games(id)
            opponent = ", ".join(spec.opponents) or spec.strategy
            step = read_manifest(Path(spec.agents[0]))["step"]
            table.begin(
                id, step,
                {"spec": spec.to_dict(), "command": True, "strategy": spec.strategy,
                 "opponent": opponent, "games": spec.games, "measured": step},
            )  # fmt: skip
        if games:
            print(f"keisei: goes on after {len(games)} games of evaluation {id}", file=sys.stderr)
        return cls(home, id, games)

    def show(self, progress: "Progress") -> None:
        """How far it is."""
        self.progress = progress

    def end(self, state: str, **more: Any) -> None:
        """It is over."""
        from keisei.play.ratings import refit
        from keisei.store.matches import MatchTable

        if found := self.progress:
            more |= {"games": found.games, "progress": found.ended / found.games}
            more |= {"score": found.score, "interval": found.interval}
        if state == "done":
            more["progress"] = 1.0
        with closing(MatchTable(self.home)) as table:
            table.update(self.id, state, more)
        refit(self.home)


def _warn(text: str) -> None:
    print(f"keisei: {text}", file=sys.stderr)


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"auto, cpu, cuda or cuda:N (got {text!r})")
    return text


def _matches(result: dict[str, Any]) -> list[dict[str, Any]]:
    matches: list[dict[str, Any]] = result.get("matches", [result])
    return matches


def _report(
    spec: "EvaluationSpec", args: argparse.Namespace, result: dict[str, Any]
) -> dict[str, Any]:
    return {
        "checkpoints": list(spec.agents),
        "strategy": spec.strategy,
        "greedy": spec.greedy,
        "seed": spec.seed,
        "max_ply": spec.max_ply,
        "declaration": spec.declaration,
        "resign": spec.resign,
        "device": args.device,
        **result,
    }


def _text(report: dict[str, Any], spec: "EvaluationSpec") -> str:
    how = "most probable moves" if spec.greedy else "moves drawn from the policy"
    lines = [f"{how}, seed {spec.seed}, {report['seconds']:.1f} s"]
    for match in _matches(report):
        lines += ["", *_describe(match, spec)]
    if "ratings" in report:
        lines += ["", table(report["ratings"])]
    if report["evaluation"]:
        run = Path(spec.agents[0]).parent.parent
        lines += ["", f"kept as evaluation {report['evaluation']} of {run}"]
    return "\n".join(lines)


def _describe(match: dict[str, Any], spec: "EvaluationSpec") -> list[str]:
    lines = [f"{match['agent']} against {match['opponent']}"]
    low, high = match["interval"]
    lines.append(
        f"  score {match['score']:.3f}   95 % interval {low:.3f} to {high:.3f}"
        f"   {match['games']} games   Elo {_elo(match)}"
    )
    for kind in ("wins", "draws", "losses"):
        ends = match["by_reason"][kind]
        reasons = ", ".join(f"{reason} {count}" for reason, count in ends.items())
        lines.append(f"  {kind:<7}{match[kind]:>5}   {reasons}".rstrip())
    lines.append(f"  capped {match['capped']:>5}   at {spec.max_ply} plies")
    if "sprt" in match and spec.sprt:
        lines.append(f"  {_verdict(match, *spec.sprt)}")
    if match.get("engines"):
        lines.append(
            f"  engine {', '.join(match['engines'])}: {match['engine_cpu_seconds']:.1f} s of CPU"
        )
        faults = [f"{kind} {count}" for kind, count in match["faults"].items() if count]
        if faults:
            lines.append(f"  its faults, replayed: {', '.join(faults)}")
    return lines


def _verdict(match: dict[str, Any], elo0: float, elo1: float) -> str:
    test, found = f"Elo {elo0:+g} or {elo1:+g}?", match["sprt"]
    if found["decision"] is None:
        low, high = found["bounds"]
        llr = f"log-likelihood ratio {found['llr']:+.2f}, bounds {low:+.2f} and {high:+.2f}"
        return f"{test} not decided by {found['pairs']} pairs ({llr})"
    likelier = elo1 if found["decision"] == "accept" else elo0
    return f"{test} {likelier:+g}, decided by {found['pairs']} pairs"


def _elo(match: dict[str, Any]) -> str:
    elo, (low, high) = match["elo"], match["elo_interval"]
    if low is None and high is None:
        return "unknown"
    if low is None or high is None:  # every game was lost, or every game was won
        return f"below {round(high):+}" if low is None else f"above {round(low):+}"
    return f"{round(elo):+} ({round(low):+} to {round(high):+})"


def _live(tournament: "Tournament") -> AbstractContextManager[Any]:
    """A table of how the matches stand, on a terminal, gone when the evaluation is over."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live

    show = partial(_table, tournament)
    console = Console(stderr=True)  # once a second: counting takes its time
    return Live(console=console, transient=True, refresh_per_second=1, get_renderable=show)


def _table(tournament: "Tournament") -> "Table":
    from rich.table import Table

    table = Table("agent", "opponent", "games", "score", "95 %", "Elo", box=None)
    for match in tournament.matches:
        row = match.to_dict()
        games = f"{len(match.games)}/{match.spec.games}"
        score = "", "", ""
        if "interval" in row:
            score = f"{row['score']:.3f}", "{:.3f} to {:.3f}".format(*row["interval"]), _elo(row)
        table.add_row(row["agent"], row["opponent"], games, *score)
    return table
