"""Describe an engine and its limits in one text: ``usi:PATH?nodes=500&Skill Level=-4``."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

LIMITS = ("nodes", "depth", "movetime", "byoyomi")
"""Names of the limits of a move, as in USI's ``go``; times are in milliseconds."""
LARGEST_LIMIT = 10**12


class EngineSpecError(ValueError):
    """The text does not describe an engine. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine as a player: its program, limits and options."""

    path: str
    """Path of the program, or the name of a program in a folder of ``PATH``."""
    limits: tuple[tuple[str, int], ...]
    """Names and values of the limits of each move: at least one of ``LIMITS``."""
    options: tuple[tuple[str, str | None], ...] = ()
    """Names and values of engine options. The value is None for a ``button`` option."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``usi:PATH?LIMIT=N&OPTION=VALUE&...``.

        ``nodes``, ``depth``, ``movetime`` and ``byoyomi`` limit each move. Every other name is an
        option of the engine; write ``option.nodes`` for an option with the name ``nodes``. For an
        option of type ``button``, write only the name. Write ``%26`` for ``&``
        and ``%25`` for ``%``.

        Raises:
            EngineSpecError: the text is wrong. The message is one line and says why.
        """
        if not text.startswith("usi:"):
            raise EngineSpecError(f"write an engine as usi:PATH?nodes=500 (got {text!r})")
        path, _, rest = text.removeprefix("usi:").partition("?")
        if not path or not path.isprintable():
            raise EngineSpecError(f"no valid path after usi: in {text!r}")
        limits: dict[str, int] = {}
        options: dict[str, str | None] = {}
        for item in filter(None, rest.split("&")):
            name, value = _split_item(item)
            target = limits if name in LIMITS else options
            option = name.removeprefix("option.")
            if not option:
                raise EngineSpecError(f"{item!r} has no name before its =")
            if option.lower() in map(str.lower, target):
                raise EngineSpecError(f"{option} is given twice in {text!r}")
            if name in LIMITS:
                limits[name] = _parse_limit(name, value)
            else:
                options[option] = value
        if not limits:
            raise EngineSpecError(f"{text!r} needs one of {', '.join(LIMITS)}, such as ?nodes=500")
        return cls(path, tuple(limits.items()), tuple(options.items()))

    @property
    def go(self) -> str:
        """The USI command that starts a search with the limits of this spec."""
        limits = dict(self.limits)
        clock = limits.pop("byoyomi", None)
        words = ["go"] if clock is None else [f"go btime 0 wtime 0 byoyomi {clock}"]
        return " ".join(words + [f"{name} {value}" for name, value in limits.items()])

    @property
    def seconds(self) -> float | None:
        """Seconds that a move may take; None if only nodes or depth limit the move."""
        times = [value for name, value in self.limits if name in {"movetime", "byoyomi"}]
        return max(times) / 1000 if times else None


def _split_item(item: str) -> tuple[str, str | None]:
    name, equals, value = (unquote(part) for part in item.partition("="))
    # The engine would read the text after a line break as another command.
    if not (name + value).isprintable():
        raise EngineSpecError(f"{item!r} contains characters that cannot be sent to an engine")
    return name.strip(), value.strip() if equals else None


def _parse_limit(name: str, value: str | None) -> int:
    if value is None or not (
        value.isascii() and value.isdigit() and 1 <= int(value[:20]) <= LARGEST_LIMIT
    ):
        raise EngineSpecError(
            f"{name}: must be a whole number from 1 to {LARGEST_LIMIT} (got {value!r}); "
            f"if {name} is an option of the engine, write option.{name}"
        )
    return int(value)
