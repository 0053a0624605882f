"""Parse the lines that USI engines write.

Sources: the USI specification with Shogidokoro's extensions (hgm.nubati.net/usi.html), and the
output of real engines. Engines write many lines that no specification describes. Therefore no
function in this module raises an error. For an unknown line, ``parse`` returns None.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

LINE_LIMIT = 65_536
"""Largest number of bytes in a line. The rest of a longer line is dropped."""
UNKNOWN_MATE = 9_999
"""Value of ``Info.mate`` if the engine does not give the number of plies (``score mate +``)."""

OptionType = Literal["check", "spin", "combo", "button", "string", "filename"]
_OPTION = re.compile(rf"name\s+(.+?)\s+type\s+({'|'.join(get_args(OptionType))})(?:\s+(.*))?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Identity:
    """``id``: the engine's name or author."""

    field: Literal["name", "author"]
    value: str


@dataclass(frozen=True, slots=True)
class Option:
    """``option``: a setting of the engine."""

    name: str
    """The option's name as the engine writes it. Names can contain spaces."""
    type: OptionType
    default: str | None = None
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    """The values that a ``combo`` accepts."""

    def problem_with(self, value: str | None) -> str | None:
        """Return a message that says what is wrong with a value; None if the value is allowed.

        For an option of type ``button``, ``value`` is None. For any other option, it is a string.
        """
        if (self.type == "button") != (value is None):
            return "takes no value" if self.type == "button" else "needs a value"
        if self.type == "check" and value not in {"true", "false"}:
            return f"must be true or false (got {value!r})"
        if self.type == "spin" and not self._within(value or ""):
            return f"must be a whole number from {self.low} to {self.high} (got {value!r})"
        if self.type == "combo" and value not in self.choices:
            return f"must be one of {', '.join(self.choices)} (got {value!r})"
        return None

    def _within(self, value: str) -> bool:
        number = _number(value)
        if number is None:
            return False
        low, high = self.low, self.high
        return (low is None or low <= number) and (high is None or number <= high)


@dataclass(frozen=True, slots=True)
class UsiOk:
    """``usiok``: the engine has listed all its options."""


@dataclass(frozen=True, slots=True)
class ReadyOk:
    """``readyok``: the engine has loaded its data."""


@dataclass(frozen=True, slots=True)
class BestMove:
    """``bestmove``: the engine's move."""

    move: str
    """A USI move, ``resign``, ``win`` (a declaration), or any other word that the engine wrote."""
    ponder: str | None = None
    """The opponent's reply that the engine expects."""


@dataclass(frozen=True, slots=True)
class Checkmate:
    """``checkmate``: the answer to ``go mate``."""

    moves: tuple[str, ...]
    """The moves that lead to mate; empty if the engine found no mate."""
    failure: str | None = None
    """``nomate``, ``timeout`` or ``notimplemented``; None if the engine gave moves."""


@dataclass(frozen=True, slots=True)
class Info:
    """``info``: the state of a search. Scores are from the engine's point of view.

    None means that the engine sent no value.
    """

    depth: int | None = None
    nodes: int | None = None
    time: int | None = None
    """Duration of the search in milliseconds."""
    cp: int | None = None
    """Score in hundredths of a pawn."""
    mate: int | None = None
    """Plies to mate, negative if the engine loses; ``UNKNOWN_MATE`` or its negative if unknown."""
    pv: tuple[str, ...] = ()
    """The principal variation: moves, and sometimes words such as ``pass``."""
    best: bool = True
    """Whether this is the best variation (MultiPV 1) and its score is not just a bound."""


Message = Identity | Option | UsiOk | ReadyOk | BestMove | Checkmate | Info


def printable(text: str) -> str:
    """Return an engine's text, shortened to 200 characters, as one line for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:200])


def parse(line: str) -> Message | None:
    """Return the message in a line that an engine wrote; None if the line contains no message."""
    word, rest = _first_word(line)
    reader = _READERS.get(word)
    return reader(rest) if reader else None


def _first_word(text: str) -> tuple[str, str]:
    """Return the first word of a text and the rest after it, split at any white space."""
    word, *rest = text.split(maxsplit=1) or [""]
    return word, rest[0].strip() if rest else ""


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _identity(rest: str) -> Identity | None:
    field, value = _first_word(rest)
    if field not in {"name", "author"}:
        return None
    return Identity(field, printable(value.strip()))  # type: ignore[arg-type]  # checked above


def _option(rest: str) -> Option | None:
    match = _OPTION.fullmatch(rest)
    if match is None:
        return None
    name, kind, rest = match[1], match[2], match[3] or ""
    if kind in {"string", "filename"}:  # the default can contain any word
        found = {"default": [rest.partition("default")[2].strip()]} if rest else {}
    else:
        found = _fields(rest)
    default = found.get("default", [None])[0]
    return Option(
        name=name,
        type=kind,  # type: ignore[arg-type]  # the pattern allows no other word
        default="" if default == "<empty>" else default,
        low=_number(found.get("min", [""])[0] or ""),
        high=_number(found.get("max", [""])[0] or ""),
        choices=tuple(choice for choice in found.get("var", []) if choice),
    )


def _fields(rest: str) -> dict[str, list[str | None]]:
    """Read ``default A b var A b var C`` as ``{"default": ["A b"], "var": ["A b", "C"]}``."""
    found: dict[str, list[str | None]] = {}
    word = None
    for token in rest.split():
        if token in {"default", "min", "max", "var"}:
            word = token
            found.setdefault(word, []).append(None)
        elif word is not None:
            before = found[word][-1]
            found[word][-1] = token if before is None else f"{before} {token}"
    return found


def _best_move(rest: str) -> BestMove:
    move, *more = rest.split() or [""]
    return BestMove(move, more[1] if len(more) > 1 and more[0] == "ponder" else None)


def _checkmate(rest: str) -> Checkmate | None:
    words = tuple(rest.split())
    if len(words) == 1 and words[0] in {"nomate", "timeout", "notimplemented"}:
        return Checkmate((), words[0])
    return Checkmate(words) if words else None


def _info(rest: str) -> Info:
    words = rest.split()
    found: dict[str, Any] = {}
    for place, word in enumerate(words):
        after = words[place + 1 : place + 3]
        if word in {"pv", "string"}:  # the rest of the line belongs to this word
            if word == "pv":
                found["pv"] = tuple(words[place + 1 :])
            break
        if word in {"depth", "nodes", "time"} and after:
            found[word] = _number(after[0])
        elif word in {"lowerbound", "upperbound"} or (word == "multipv" and after[:1] != ["1"]):
            found["best"] = False
        elif word == "score" and len(after) == 2 and after[0] == "cp":
            found["cp"] = _number(after[1])
        elif word == "score" and len(after) == 2 and after[0] == "mate":
            unknown = {"+": UNKNOWN_MATE, "-": -UNKNOWN_MATE}
            found["mate"] = unknown.get(after[1], _number(after[1]))
    return Info(**found)


_READERS: dict[str, Callable[[str], Message | None]] = {
    "id": _identity,
    "option": _option,
    "usiok": lambda _: UsiOk(),
    "readyok": lambda _: ReadyOk(),
    "bestmove": _best_move,
    "checkmate": _checkmate,
    "info": _info,
}


class Lines:
    """Buffer that splits bytes into lines. Each line keeps only its first ``LINE_LIMIT`` bytes."""

    def __init__(self) -> None:
        self._unfinished = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """Add bytes. Return the lines that are now complete, without their line ends."""
        *ended, begun = data.split(b"\n")
        lines = []
        for part in ended:
            self._append(part)
            lines.append(self._unfinished.decode("utf-8", "replace").removesuffix("\r"))
            self._unfinished.clear()
        self._append(begun)
        return lines

    def _append(self, part: bytes) -> None:
        self._unfinished += part[: LINE_LIMIT - len(self._unfinished)]


def set_option(name: str, value: str | None) -> str:
    """Return the ``setoption`` command for an option. The value is None for a ``button``."""
    if value is None:
        return f"setoption name {name}"
    return f"setoption name {name} value {value or '<empty>'}"
