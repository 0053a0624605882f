"""Commands to the device thread that concern training."""

from dataclasses import dataclass
from typing import Literal

from keisei.play.mailbox import Command


@dataclass(frozen=True, slots=True, eq=False)
class Pause(Command):
    """Stop training turns; evaluations and moves go on."""


@dataclass(frozen=True, slots=True, eq=False)
class Resume(Command):
    """Go on training."""


@dataclass(frozen=True, slots=True, eq=False)
class SaveCheckpoint(Command):
    """Save when the iteration in progress has ended; the answer is the checkpoint's path."""


CommandName = Literal["pause", "resume", "checkpoint"]
COMMANDS: dict[CommandName, type[Command]] = {
    "pause": Pause,
    "resume": Resume,
    "checkpoint": SaveCheckpoint,
}
"""Commands by the names that ``Keisei.submit`` and the HTTP API use."""
