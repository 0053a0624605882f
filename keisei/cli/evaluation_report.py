"""The output of ``keisei evaluate``: the result as text or JSON, and a live table of matches."""

import argparse
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli.ratings import table

if TYPE_CHECKING:
    from rich.table import Table

    from keisei.evaluation.spec import EvaluationSpec
    from keisei.play.tournament import Tournament


def matches_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the matches of an evaluation's result. A result without ``matches`` is one match."""
    matches: list[dict[str, Any]] = result.get("matches", [result])
    return matches


def as_json(
    spec: "EvaluationSpec", args: argparse.Namespace, result: dict[str, Any]
) -> dict[str, Any]:
    """Return the result together with the evaluation's rules, checkpoints and device."""
    return {
        "checkpoints": list(spec.agents),
        "strategy": spec.strategy,
        **spec.rules(),
        "device": args.device,
        **result,
    }


def as_text(report: dict[str, Any], spec: "EvaluationSpec") -> str:
    """Return the result as text for a terminal."""
    from keisei.evaluation.network_options import split_options

    how = (
        "most probable moves"
        if spec.greedy
        else f"moves sampled at temperature {spec.temperature:g}"
    )
    if spec.mates:
        how += f", mates in {'one' if spec.mates == 1 else 'three'} played"
    lines = [f"{how}, seed {spec.seed}, {report['seconds']:.1f} s"]
    for match in matches_of(report):
        lines += ["", *_describe(match, spec)]
    if "ratings" in report:
        lines += ["", table(report["ratings"])]
    if report["evaluation"]:
        run = Path(split_options(spec.agents[0])[0]).parent.parent
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
            lines.append(f"  failures of the engine (games played again): {', '.join(faults)}")
    return lines


def _verdict(match: dict[str, Any], elo0: float, elo1: float) -> str:
    test = match["sprt"]
    pairs = f"{test['pairs']} pairs"
    if test["decision"] is None:
        low, high = test["bounds"]
        llr = f"log-likelihood ratio {test['llr']:+.2f}, bounds {low:+.2f} and {high:+.2f}"
        return f"SPRT: undecided between {elo0:+g} and {elo1:+g} Elo after {pairs} ({llr})"
    accepted = f"H1 ({elo1:+g} Elo)" if test["decision"] == "accept" else f"H0 ({elo0:+g} Elo)"
    return f"SPRT: {accepted} accepted after {pairs}"


def _elo(match: dict[str, Any]) -> str:
    elo, (low, high) = match["elo"], match["elo_interval"]
    if low is None and high is None:
        return "unknown"
    if low is None or high is None:  # every game was lost, or every game was won
        return f"below {round(high):+}" if low is None else f"above {round(low):+}"
    return f"{round(elo):+} ({round(low):+} to {round(high):+})"


def live_table(tournament: "Tournament") -> AbstractContextManager[Any]:
    """Return a context manager that shows a table of the matches if stderr is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live

    show = partial(_table, tournament)
    console = Console(stderr=True)
    # The table is refreshed only once a second, because counting the games takes time.
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
