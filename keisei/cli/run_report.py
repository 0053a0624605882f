"""Reports about one run: a line for the list, and everything about the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli.event_text import duration
from keisei.cli.tables import count, moment, size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keisei.config import Settings

ALERTS = 5
"""Number of newest alerts in a report."""


def summary(folder: Path) -> dict[str, Any]:
    """Return what the list says about a run. A damaged run has a ``problem``."""
    from keisei.store import DatabaseError, RunReader
    from keisei.store.runs import describe_run, measure_run
    from keisei.store.scores import newest_scores

    found = describe_run(folder)
    for key in ("score", "opponent"):  # `scores` says more
        del found[key]
    try:
        scores = newest_scores(RunReader(folder).evaluations())
    except DatabaseError:  # `problem` says why
        scores = []
    return {**found, "path": str(folder), **measure_run(folder), "scores": scores}


def list_text(runs: "Sequence[dict[str, Any]]") -> str:
    """Return the list of runs as a table, and the problems of damaged runs below it."""
    head = ("run", "state", "steps", "trained", "size", "newest score")
    rows = [
        (
            run["id"],
            run["state"],
            count(run["step"]),
            _seconds(run["trained"]),
            size(run["bytes"]),
            ", ".join(map(_score, run["scores"][:1])),
        )
        for run in runs
    ]
    problems = [f"{run['id']}: {run['problem']}" for run in runs if run["problem"]]
    return "\n".join([table([head, *rows], right={2, 3, 4}), *problems])


def report(folder: Path) -> dict[str, Any]:
    """Return everything about a run. Raises RunError, DatabaseError."""
    from keisei.store import RunReader, read_settings

    reader = RunReader(folder)
    return {
        **summary(folder),
        "settings": changed_settings(read_settings(folder)),
        "saved": checkpoints(folder),
        "ratings": reader.ratings(),
        "metrics": newest_metrics(reader.metrics(max_points=5)["series"]),
        "alerts": [event for event in reader.events(1000) if event["topic"] == "alert"][:ALERTS],
    }


def changed_settings(settings: "Settings") -> dict[str, Any]:
    """Return the settings that differ from the defaults, by their dotted keys."""
    default = flat_settings(type(settings)())
    return {key: value for key, value in flat_settings(settings).items() if value != default[key]}


def flat_settings(settings: "Settings") -> dict[str, Any]:
    """Return the settings by their dotted keys."""
    found: dict[str, Any] = {}
    for section, value in settings.model_dump(mode="json").items():
        values = value if isinstance(value, dict) else {"": value}
        found |= {f"{section}.{key}".rstrip("."): each for key, each in values.items()}
    return found


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Return the run's checkpoints, newest first, each with ``best`` and ``pinned``."""
    from keisei.store import RunReader
    from keisei.store.layout import CHECKPOINTS, best_steps, pinned_steps

    best, pinned = best_steps(folder), pinned_steps(folder / CHECKPOINTS)
    return [
        {**row, "best": row["step"] in best, "pinned": row["step"] in pinned}
        for row in RunReader(folder).checkpoints()
    ]


def checkpoints_text(rows: "Sequence[dict[str, Any]]") -> str:
    """Return the list of checkpoints as a table."""
    head = ("step", "created", "size", "note")
    cells = [
        (
            count(row["step"]),
            moment(row["created"]),
            size(row["bytes"]),
            ", ".join(
                [
                    *(key for key in ("best", "pinned") if row[key]),
                    *filter(None, [row.get("error")]),
                ]
            ),
        )
        for row in rows
    ]
    return table([head, *cells], right={0, 2})


def newest_metrics(series: dict[str, dict[str, list[Any]]]) -> dict[str, float | None]:
    """Return the newest value of each metric."""
    return {name: points["value"][-1] for name, points in series.items() if points["value"]}


def report_text(run: dict[str, Any]) -> str:
    """Return the report as text."""
    facts = [
        ("run", run["path"]),
        ("state", run["state"]),
        *([("problem", run["problem"])] if run["problem"] else []),
        ("started", moment(run["started"])),
        ("updated", moment(run["updated"])),
        ("steps", count(run["step"])),
        ("trained", _seconds(run["trained"])),
        ("size", size(run["bytes"])),
    ]
    parts = [table(facts)]
    if run["settings"]:
        parts.append(_part("Settings that differ from the defaults", run["settings"]))
    if run["saved"]:
        parts.append("Checkpoints\n" + checkpoints_text(run["saved"]))
    if run["scores"]:
        parts.append("Newest scores\n" + scores_text(run["scores"]))
    if run["ratings"]:
        parts.append("Ratings\n" + ratings_text(run["ratings"]))
    if run["metrics"]:
        values = {name: _number(value) for name, value in run["metrics"].items()}
        parts.append(_part("Newest metrics", values))
    if run["alerts"]:
        lines = [(moment(a["time"]), a["level"], a["name"], a["message"]) for a in run["alerts"]]
        parts.append("Newest alerts\n" + table(lines))
    return "\n\n".join(parts)


def scores_text(scores: "Sequence[dict[str, Any]]") -> str:
    """Return scores with their intervals as a table."""
    head = ("step", "opponent", "mode", "games", "score", "95 % interval")
    rows = [
        (
            count(score["step"]),
            score["opponent"],
            score["mode"],
            str(score["games"]),
            f"{score['score']:.3f}",
            "{:.3f} to {:.3f}".format(*score["interval"]),
        )
        for score in scores
    ]
    return table([head, *rows], right={0, 3})


def ratings_text(ratings: "Sequence[dict[str, Any]]") -> str:
    """Return stored ratings as a table."""
    rows = [
        (f"{round(row['elo']):+}", _span(row["low"], row["high"]), str(row["games"]), row["player"])
        for row in ratings
    ]
    return table([("Elo", "95 % interval", "games", "player"), *rows], right={0, 2})


def _score(score: dict[str, Any]) -> str:
    mode = "" if score["mode"] == "sampled" else f" {score['mode']}"
    return f"{score['score']:.3f} {score['opponent']}{mode}"


def _span(low: float | None, high: float | None) -> str:
    """Return an interval of ratings; the end that is not known is left out."""
    ends = [
        f"{round(low):+}" if low is not None else "",
        f"{round(high):+}" if high is not None else "",
    ]
    return " to ".join(ends).strip()


def _part(title: str, values: dict[str, Any]) -> str:
    return f"{title}\n" + table([(key, str(value)) for key, value in values.items()])


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"
