"""``keisei evaluate``: how strong a run or a checkpoint is, against players and engines."""

import argparse
import json
import re
import secrets
import sys
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli import process
from keisei.cli.errors import CommandError, EnvironmentProblem, UsageError
from keisei.cli.ratings import table

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from rich.table import Table

    from keisei.evaluation.spec import EvaluationSpec
    from keisei.runtime.tournament import Tournament
    from keisei.store.matches import MatchGame

REJECTED = 4
"""Exit code when a sequential test has decided against the agent."""


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei evaluate``."""
    parser = subparsers.add_parser("evaluate", help="measure an agent", description=__doc__)
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
        help="random, material, a run or checkpoint, or usi:PATH?nodes=N&OPTION=VALUE, "
        "an engine as docs/guide/engines.md says; again for more (default: random)",
    )
    parser.add_argument(
        "--strategy",
        default="single",
        metavar="NAME",
        help="single, gauntlet, round_robin, ladder, benchmark, or a package's (default: single)",
    )
    parser.add_argument(
        "--games", type=int, default=200, help="of each match, half from each seat (default: 200)"
    )
    parser.add_argument(
        "--sprt",
        metavar="ELO0,ELO1",
        help="end a match once its pairs have decided between these two differences; "
        f"exit code {REJECTED} if the first agent is not the stronger",
    )
    parser.add_argument("--openings", type=Path, metavar="FILE", help="instead of the shipped book")
    parser.add_argument(
        "--greedy", action="store_true", help="networks play their most probable move, draw none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all players (default: 0)")
    parser.add_argument("--device", default="auto", type=_device, help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch's; more only pay on idle cores (default: 1)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=2, help="games at once against an engine (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Play the matches and print their result."""
    process.set_up()
    import anyio

    from keisei.usi import EngineError, EngineStartError

    if args.threads < 1:
        raise UsageError(f"--threads: 1 or more (got {args.threads})")
    _spec(args)  # a wrong number is told before anything slow
    with process.problems():
        spec, home = _bring_in(args)
    began = time.monotonic()
    try:
        with process.problems():
            result = anyio.run(partial(_play, args, spec, home))
    except EngineStartError as error:
        raise EnvironmentProblem(str(error)) from error
    except EngineError as error:
        raise CommandError(str(error)) from error
    report = _report(spec, args, result) | {"seconds": round(time.monotonic() - began, 3)}
    print(json.dumps(report, indent=2) if args.json else _text(report))
    failed = [match["error"] for match in _matches(result) if match.get("error")]
    if failed:
        raise CommandError(f"ended early: {failed[0]}")
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
        "sprt": (sprt.elo0, sprt.elo1) if sprt else None,
        "openings": args.openings and str(args.openings.absolute()),
        "concurrency": args.concurrency,
    }
    try:
        return EvaluationSpec(**fields | more)
    except ValueError as error:
        raise UsageError(f"--{error}") from None


def _bring_in(args: argparse.Namespace) -> tuple["EvaluationSpec", Path | None]:
    """The spec with checkpoints for runs, and the run whose database keeps the games, if any.

    Raises CheckpointError, RunError, UsageError.
    """
    from keisei.evaluation.openings import load_openings
    from keisei.evaluation.spec import ENGINE, LOCAL
    from keisei.runtime.players import trained_with
    from keisei.store import find_checkpoint
    from keisei.store.directory import DATABASE_FILE
    from keisei.usi import EngineSpec

    def checkpoint(path: str) -> str:
        folder, refused = find_checkpoint(Path(path))
        for error in refused:
            print(f"keisei: refused: {error}", file=sys.stderr)
        return str(folder.absolute())

    def opponent(text: str) -> str:
        if text.startswith(ENGINE):
            EngineSpec.parse(text)
        elif text not in LOCAL:
            if not Path(text).exists():
                known = f"{', '.join(LOCAL)}, a run, a checkpoint or usi:PATH?nodes=500"
                raise UsageError(f"--opponent: {known} (got {text!r})")
            return checkpoint(text)
        return text

    try:
        opponents = tuple(map(opponent, _spec(args).opponents))
        load_openings(args.openings)
    except ValueError as error:
        raise UsageError(str(error)) from None
    agents = tuple(map(checkpoint, map(str, args.agents)))
    rule = trained_with(Path(agents[0])).env.declaration
    spec = _spec(args, agents=agents, opponents=opponents, declaration=rule)
    home = Path(agents[0]).parent.parent
    return spec, home if (home / DATABASE_FILE).exists() else None


async def _play(
    args: argparse.Namespace, spec: "EvaluationSpec", home: Path | None
) -> dict[str, Any]:
    from keisei.runtime.arena import local_arena
    from keisei.runtime.tournament import Tournament

    kept = _Kept.find(home, spec) if home else None
    async with local_arena(args.device, args.threads) as arena:
        tournament = Tournament(
            spec,
            arena,
            keep=kept.add if kept else None,
            kept=kept.games if kept else (),
        )
        with _live(tournament):
            try:
                result = await tournament.run()
            except BaseException:
                if kept:
                    kept.end("cancelled", {})
                raise
    if kept:
        kept.end("done", {"result": result})
    return result


@dataclass(slots=True)
class _Kept:
    """The evaluation in the run's database; one that was broken off goes on."""

    home: Path
    id: str
    games: "list[MatchGame]"

    @classmethod
    def find(cls, home: Path, spec: "EvaluationSpec") -> "_Kept":
        """Begin it. Raises DatabaseError."""
        from keisei.store import RunReader
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
            step = int(Path(spec.agents[0]).name)
            opponent = ", ".join(spec.opponents) or spec.strategy
            table.begin(
                id, step,
                {"spec": spec.to_dict(), "command": True, "strategy": spec.strategy,
                 "opponent": opponent, "games": spec.games},
            )  # fmt: skip
        if games:
            print(f"keisei: goes on after {len(games)} games of evaluation {id}", file=sys.stderr)
        return cls(home, id, games)

    def add(self, games: "list[MatchGame]") -> None:
        """Keep games."""
        from keisei.runtime.evaluating import keep_games

        keep_games(self.home, self.id, games)

    def end(self, state: str, data: dict[str, Any]) -> None:
        """It is over."""
        from keisei.runtime.ratings import refit
        from keisei.store.matches import MatchTable

        with closing(MatchTable(self.home)) as table:
            table.update(self.id, state, data | {"progress": 1.0 if state == "done" else 0.0})
        refit(self.home)


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
        "device": args.device,
        **result,
    }


def _text(report: dict[str, Any]) -> str:
    how = "most probable moves" if report["greedy"] else "moves drawn from the policy"
    lines = [f"{how}, seed {report['seed']}, {report['seconds']:.1f} s"]
    for match in _matches(report):
        lines += _describe(match, report["max_ply"])
    if "ratings" in report:
        lines += ["", table(report["ratings"])]
    return "\n".join(lines)


def _describe(match: dict[str, Any], max_ply: int) -> list[str]:
    lines = [f"{match['agent']} against {match['opponent']}"]
    if not match.get("games"):
        return [*lines, "  no game has ended"]
    low, high = match["interval"]
    lines.append(
        f"  score {match['score']:.3f}   95 % interval {low:.3f} to {high:.3f}"
        f"   {match['games']} games   Elo {_elo(match)}"
    )
    for kind in ("wins", "draws", "losses"):
        ends = match["by_reason"][kind]
        reasons = ", ".join(f"{reason} {count}" for reason, count in ends.items())
        lines.append(f"  {kind:<7}{match[kind]:>5}   {reasons}".rstrip())
    lines.append(f"  capped {match['capped']:>5}   at {max_ply} plies")
    if "sprt" in match:
        test = match["sprt"]
        lines.append(
            f"  Elo {test['elo0']:g} or {test['elo1']:g}: {test['decision']}ed"
            f" after {test['pairs']} pairs"
        )
    if match.get("engines"):
        faults = ", ".join(f"{kind} {count}" for kind, count in match["faults"].items())
        names = ", ".join(match["engines"])
        lines.append(f"  engine {names}: {match['engine_cpu_seconds']:.1f} s of CPU")
        lines.append(f"  faults, replayed: {faults}")
    return lines


def _elo(match: dict[str, Any]) -> str:
    def text(value: float | None) -> str:
        return "?" if value is None else f"{value:+.0f}"

    low, high = match["elo_interval"]
    return f"{text(match['elo'])} ({text(low)} to {text(high)})"


def _live(tournament: "Tournament") -> AbstractContextManager[Any]:
    """A table of how the matches stand, on a terminal, gone when the evaluation is over."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    return Live(console=console, transient=True, get_renderable=lambda: _table(tournament))


def _table(tournament: "Tournament") -> "Table":
    from rich.table import Table

    table = Table("agent", "opponent", "games", "score", "95 %", "Elo", box=None)
    for match in tournament.matches:
        row = match.to_dict()
        games = f"{len(match.games)}/{match.spec.games}"
        score = "", "", ""
        if match.games:
            low, high = row["interval"]
            score = f"{row['score']:.3f}", f"{low:.3f} to {high:.3f}", _elo(row)
        table.add_row(row["agent"], row["opponent"], games, *score)
    return table
