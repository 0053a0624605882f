"""Describe the events and metrics of a run in words, for people at a terminal."""

import math

from keisei.events import Alert, Evaluation, Event, Failed, Status
from keisei.log import escape

_SHOWN = (
    ("loss policy", "train/loss_policy", "{:.3f}"),
    ("value", "train/loss_value", "{:.3f}"),
    ("entropy", "train/entropy", "{:.2f}"),
    ("kl", "train/kl", "{:.4f}"),
    ("length", "games/length", "{:.0f}"),
    ("decisive", "games/decisive", "{:.0%}"),
)

COMPILING = "compiling; about fifteen seconds the first time"
_WORDS = {
    "compiling": COMPILING,
    "checkpoint": "checkpoint saved",  # The event's message, a path, is not shown.
}


def speed(values: dict[str, float]) -> list[str]:
    """Return the steps per second and, if known, their share of the network's limit."""
    found = [f"{values.get('speed/steps_per_second', 0):,.0f} steps/s"]
    if math.isfinite(share := values.get("speed/limit_ratio", math.nan)):
        found.append(f"{share:.0%} of the limit")
    return found


def figures(values: dict[str, float]) -> list[str]:
    """Return an iteration's numbers as texts, without the numbers that are not known yet."""
    known = ((name, values.get(key, math.nan), form) for name, key, form in _SHOWN)
    return [f"{name} {form.format(value)}" for name, value, form in known if math.isfinite(value)]


def notice(event: Event) -> str | None:
    """Return an event as a line of text, or None for an event that is not printed as a line."""
    text = _describe(event)
    return escape(text) if text else None  # a message can quote a client's text


def evaluation(event: Evaluation) -> str:
    """Return the evaluation's opponent, its score with the interval, and its progress."""
    score = "" if event.score is None else f" score {event.score:.3f}"
    span = "" if event.interval is None else " ({:.3f} to {:.3f})".format(*event.interval)
    state = "" if event.state == "done" else f" {event.state}"
    done = f"{state} {event.progress:.0%}" if event.state == "running" else state
    return escape(f"evaluation against {event.opponent}:{score}{span}{done}")


def duration(seconds: float) -> str:
    """Return a time span as ``4:05``, ``1:04:05`` or ``2 d 1:04:05``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if not hours:
        return f"{minute}:{second:02d}"
    return f"{f'{days} d ' if days else ''}{hour}:{minute:02d}:{second:02d}"


def _describe(event: Event) -> str | None:
    """Describe an event in words, or return None for an event that is not printed."""
    match event:
        case Failed():
            return f"failed: {event.type}: {event.message}"
        case Status(kind="started"):
            return f"started: run {event.run}"
        case Status():
            return _WORDS.get(event.kind) or " ".join(filter(None, (event.kind, event.message)))
        case Alert():
            return f"{event.level}: {event.name}: {event.message}"
        case Evaluation() if event.state == "done" and event.score is not None:
            return evaluation(event)
    return None
