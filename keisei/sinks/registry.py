"""Builds the sinks that the settings of a run ask for."""

from pathlib import Path

from keisei.config import Settings
from keisei.feed.sinks import Sink
from keisei.feed.supervise import Report


def sinks_for(settings: Settings, folder: Path, report: Report) -> list[Sink]:
    """Return the sinks that the settings ask for.

    ``folder`` is the run's folder. ``report`` sends alerts.
    """
    if settings.wandb.mode == "disabled":
        return []
    from keisei.sinks.wandb import WandbSink

    return [WandbSink(settings, folder, report)]
