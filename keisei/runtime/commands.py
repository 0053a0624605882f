"""Commands that the device thread obeys: pause, resume, save and show."""

from dataclasses import dataclass
from typing import Literal

from keisei.play.mailbox import Command


@dataclass(frozen=True, slots=True, eq=False)
class Pause(Command):
    """Pause training; evaluations go on, and move requests are still answered."""


@dataclass(frozen=True, slots=True, eq=False)
class Resume(Command):
    """Continue training after a pause."""


@dataclass(frozen=True, slots=True, eq=False)
class SaveCheckpoint(Command):
    """Save a checkpoint after the iteration in progress. The answer is the checkpoint's path."""


@dataclass(frozen=True, slots=True, eq=False)
class Show(Command):
    """Choose the self-play game that ``board`` events show. The answer is the game's number."""

    game: int | Literal["longest", "newest"]


CommandName = Literal["pause", "resume", "checkpoint"]
COMMANDS: dict[CommandName, type[Command]] = {
    "pause": Pause,
    "resume": Resume,
    "checkpoint": SaveCheckpoint,
}
"""Command classes by the names that ``Keisei.submit`` and the HTTP API use."""
