"""What ends a command early, and with which exit code.

0 done or stopped in good order, 1 failed, 2 usage or settings, 3 environment (port, device, disk,
lock, damaged file), 4 when a sequential test decided against an agent, 130/143 when a second signal
forced it.
"""


class CommandError(Exception):
    """A command that can't go on. The message is for a person: where, what, which bound."""

    exit_code = 1


class UsageError(CommandError):
    """A flag, file or value that can't be used."""

    exit_code = 2


class EnvironmentProblem(CommandError):
    """The machine lacks something: a free port, a device, disk space, a lock, a file that is whole."""

    exit_code = 3


def require(flag: str, got: object, good: bool, bound: str) -> None:
    """Refuse a flag's value that is not good. Raises UsageError, which names its bound."""
    if not good:
        raise UsageError(f"--{flag}: {bound} (got {got})")
