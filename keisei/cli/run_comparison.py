"""Compare runs: the settings that differ, curves, scores and ratings."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keisei.cli.metrics import TABLE_KEYS, chosen_keys
from keisei.cli.run_report import flat_settings
from keisei.cli.sparkline import sparkline
from keisei.cli.tables import table

_WIDTH = 48
"""Width of a curve, in characters."""
_POINTS = 500
"""Largest number of points of a curve."""


def compare(folders: Sequence[Path], keys: str | None) -> dict[str, Any]:
    """Compare the runs in ``folders``. ``keys``: names of metrics, or None for the usual ones.

    Raises RunError, DatabaseError, UsageError.
    """
    from keisei.store import RunReader, read_settings
    from keisei.store.scores import newest_scores

    readers = [RunReader(folder) for folder in folders]
    names = _names(folders)
    known = sorted({name for reader in readers for name in reader.metric_names()})
    usual = [key for key in TABLE_KEYS if key in known]
    chosen = usual if keys is None else chosen_keys(keys, known)
    curves = [reader.metrics(chosen, max_points=_POINTS)["series"] for reader in readers]
    return {
        "runs": names,
        "settings": _differences([flat_settings(read_settings(folder)) for folder in folders]),
        "metrics": {
            key: {name: _finite(curve[key]) for name, curve in zip(names, curves, strict=True)}
            for key in chosen
        },
        "scores": {
            name: newest_scores(reader.evaluations())
            for name, reader in zip(names, readers, strict=True)
        },
        "ratings": {name: reader.ratings() for name, reader in zip(names, readers, strict=True)},
    }


def comparison_text(found: dict[str, Any]) -> str:
    """Return the comparison as text."""
    names = found["runs"]
    parts = [_settings_text(names, found["settings"]), *_curves_text(names, found["metrics"])]
    if any(found["scores"].values()):
        parts.append("Newest scores\n" + _scores_text(names, found["scores"]))
    if any(found["ratings"].values()):
        parts.append("Ratings of each run's own games\n" + _ratings_text(names, found["ratings"]))
    return "\n\n".join(parts)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the runs' ids, or their paths if two runs have the same id."""
    ids = [folder.resolve().name for folder in folders]
    return ids if len(set(ids)) == len(ids) else [str(folder) for folder in folders]


def _differences(configs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return each setting that is not equal in all runs, with its value in each run."""
    values = {key: [config[key] for config in configs] for key in configs[0]}
    return {key: each for key, each in values.items() if any(v != each[0] for v in each)}


def _finite(points: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the steps and values of a series, without values that are not finite."""
    pairs = zip(points["step"], points["value"], strict=True)
    known = [(step, value) for step, value in pairs if value is not None]
    return {"step": [step for step, _ in known], "value": [value for _, value in known]}


def _settings_text(names: Sequence[str], settings: dict[str, list[Any]]) -> str:
    if not settings:
        return "All settings are equal."
    rows = [(key, *map(str, values)) for key, values in settings.items()]
    return "Settings that differ\n" + table([("setting", *names), *rows])


def _curves_text(names: Sequence[str], metrics: dict[str, dict[str, Any]]) -> list[str]:
    """Return the curves of each metric, one line for each run, on the same axes."""
    steps = [
        step for curves in metrics.values() for points in curves.values() for step in points["step"]
    ]
    if not steps:
        return []
    last = max(steps)
    parts = [f"Curves from step 0 to step {last:,}: all runs have the same axes"]
    for key, curves in metrics.items():
        values = [value for points in curves.values() for value in points["value"]]
        if not values:
            continue
        bounds = min(values), max(values)
        rows = [_curve(name, curves[name], last, bounds) for name in names]
        parts.append(f"{key}: {bounds[0]:.4g} to {bounds[1]:.4g}\n" + table(rows))
    return parts


def _curve(
    name: str, points: dict[str, Any], last: int, bounds: tuple[float, float]
) -> tuple[str, str, str]:
    """Return a run's name, its curve, and the first and last value."""
    values = points["value"]
    if not values:
        return name, "", "no value"
    line = sparkline(points["step"], values, last=last, bounds=bounds, width=_WIDTH)
    return name, f"|{line}|", f"{values[0]:.4g} -> {values[-1]:.4g}"


def _scores_text(names: Sequence[str], scores: dict[str, list[dict[str, Any]]]) -> str:
    def show(score: dict[str, Any]) -> str:
        return "{:.3f} ({:.3f} to {:.3f})".format(score["score"], *score["interval"])

    return _columns(("opponent", "mode"), names, scores, lambda s: (s["opponent"], s["mode"]), show)


def _ratings_text(names: Sequence[str], ratings: dict[str, list[dict[str, Any]]]) -> str:
    def show(rating: dict[str, Any]) -> str:
        ends = (
            "?" if end is None else f"{round(end):+}" for end in (rating["low"], rating["high"])
        )
        return f"{round(rating['elo']):+} ({' to '.join(ends)})"

    return _columns(("player",), names, ratings, lambda r: (r["player"],), show)


def _columns(
    head: Sequence[str],
    names: Sequence[str],
    found: dict[str, list[dict[str, Any]]],
    key: Callable[[dict[str, Any]], tuple[str, ...]],
    show: Callable[[dict[str, Any]], str],
) -> str:
    """Return a table with a row for each key and a column for each run."""
    keys = dict.fromkeys(key(row) for rows in found.values() for row in rows)
    cells = {name: {key(row): show(row) for row in rows} for name, rows in found.items()}
    rows = [(*each, *(cells[name].get(each, "-") for name in names)) for each in keys]
    return table([(*head, *names), *rows])
