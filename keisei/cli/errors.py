"""The errors that end a command, and the exit codes.

- 0: done, or stopped cleanly
- 1: failed
- 2: wrong usage or settings
- 3: a problem of the machine: a port in use, no device, a full disk, a locked run, a damaged file
- 4: a sequential test decided against an agent
- 130, 143: SIGINT or SIGTERM ended the command at once
"""


class CommandError(Exception):
    """A command cannot go on. The message names the place, the problem and the allowed values."""

    exit_code = 1


class UsageError(CommandError):
    """A flag, a file or a value cannot be used."""

    exit_code = 2


class EnvironmentProblem(CommandError):
    """A problem of the machine: a port in use, no device, a full disk, a lock, a damaged file."""

    exit_code = 3


def require(flag: str, got: object, good: bool, bound: str) -> None:
    """Raise UsageError if ``good`` is False. ``bound`` names the allowed values of ``flag``."""
    if not good:
        raise UsageError(f"--{flag}: {bound} (got {got})")
