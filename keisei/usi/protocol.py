"""The Universal Shogi Interface as text: what engines say.

Sources: the USI specification with Shogidokoro's extensions (hgm.nubati.net/usi.html) and what
engines really send. Engines say much that no specification knows, so nothing here raises: a line
that makes no sense is None.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

LINE_LIMIT = 65_536
"""Bytes kept of a line; the rest is dropped."""
UNKNOWN_MATE = 9_999
"""Plies to a mate when the engine does not say how many (``score mate +``)."""

OptionType = Literal["check", "spin", "combo", "button", "string", "filename"]
_OPTION = re.compile(rf"name\s+(.+?)\s+type\s+({'|'.join(get_args(OptionType))})(?:\s+(.*))?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Identity:
    """``id``: who the engine is."""

    field: Literal["name", "author"]
    value: str


@dataclass(frozen=True, slots=True)
class Option:
    """``option``: what can be set in the engine."""

    name: str
    """As the engine writes it, spaces included."""
    type: OptionType
    default: str | None = None
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    """Of a ``combo``."""

    def refuses(self, value: str | None) -> str | None:
        """What is wrong with a value, for people; None if nothing is.

        A button takes None, all others a text.
        """
        if (self.type == "button") != (value is None):
            return "takes no value" if self.type == "button" else "needs a value"
        if self.type == "check" and value not in {"true", "false"}:
            return f"true or false (got {value!r})"
        if self.type == "spin" and not self._within(value or ""):
            return f"a whole number from {self.low} to {self.high} (got {value!r})"
        if self.type == "combo" and value not in self.choices:
            return f"one of {', '.join(self.choices)} (got {value!r})"
        return None

    def _within(self, value: str) -> bool:
        number = _number(value)
        if number is None:
            return False
        low, high = self.low, self.high
        return (low is None or low <= number) and (high is None or number <= high)


@dataclass(frozen=True, slots=True)
class UsiOk:
    """``usiok``: the engine has named all its options."""


@dataclass(frozen=True, slots=True)
class ReadyOk:
    """``readyok``"""


@dataclass(frozen=True, slots=True)
class BestMove:
    """``bestmove``"""

    move: str
    """A USI move, ``resign``, ``win`` (a declaration), or whatever else the engine wrote."""
    ponder: str | None = None
    """The answer that it expects."""


@dataclass(frozen=True, slots=True)
class Checkmate:
    """``checkmate``, the answer to ``go mate``."""

    moves: tuple[str, ...]
    """The mate; empty if there is none to tell."""
    failure: str | None = None
    """``nomate``, ``timeout`` or ``notimplemented``."""


@dataclass(frozen=True, slots=True)
class Info:
    """``info``: what a search has found so far. None: not told. Scores are as the engine sees."""

    depth: int | None = None
    nodes: int | None = None
    time: int | None = None
    """Milliseconds."""
    cp: int | None = None
    """Score in hundredths of a pawn."""
    mate: int | None = None
    """Plies to mate, negative if the engine is mated; +-``UNKNOWN_MATE`` if it does not say."""
    pv: tuple[str, ...] = ()
    """The line it expects; some engines put words such as ``pass`` in it."""
    best: bool = True
    """Whether this is of its best line (the first, with MultiPV), and the score no mere bound."""


Message = Identity | Option | UsiOk | ReadyOk | BestMove | Checkmate | Info


def printable(text: str) -> str:
    """What an engine wrote, as one line that may be shown on a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:200])


def parse(line: str) -> Message | None:
    """What a line of an engine means, or None."""
    word, rest = _first_word(line)
    reader = _READERS.get(word)
    return reader(rest) if reader else None


def _first_word(text: str) -> tuple[str, str]:
    """The first word and what follows it; any white space separates."""
    word, *rest = text.split(maxsplit=1) or [""]
    return word, rest[0].strip() if rest else ""


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _identity(rest: str) -> Identity | None:
    field, value = _first_word(rest)
    if field not in {"name", "author"}:
        return None
    return Identity(field, printable(value.strip()))  # type: ignore[arg-type]  # just looked at


def _option(rest: str) -> Option | None:
    match = _OPTION.fullmatch(rest)
    if match is None:
        return None
    name, kind, rest = match[1], match[2], match[3] or ""
    if kind in {"string", "filename"}:  # the default may hold any word
        found = {"default": [rest.partition("default")[2].strip()]} if rest else {}
    else:
        found = _fields(rest)
    default = found.get("default", [None])[0]
    return Option(
        name=name,
        type=kind,  # type: ignore[arg-type]  # the pattern knows no other
        default="" if default == "<empty>" else default,
        low=_number(found.get("min", [""])[0] or ""),
        high=_number(found.get("max", [""])[0] or ""),
        choices=tuple(choice for choice in found.get("var", []) if choice),
    )


def _fields(rest: str) -> dict[str, list[str | None]]:
    """``default A b var A b var C`` as ``{"default": ["A b"], "var": ["A b", "C"]}``."""
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
        if word in {"pv", "string"}:  # these take all that follows
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
    """Cuts bytes into lines. Of a line longer than ``LINE_LIMIT`` the rest is dropped."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete, without their ends."""
        *ended, begun = data.split(b"\n")
        lines = []
        for part in ended:
            self._keep(part)
            lines.append(self._kept.decode("utf-8", "replace").removesuffix("\r"))
            self._kept.clear()
        self._keep(begun)
        return lines

    def _keep(self, part: bytes) -> None:
        self._kept += part[: LINE_LIMIT - len(self._kept)]


def set_option(name: str, value: str | None) -> str:
    """``setoption``; None presses a button."""
    if value is None:
        return f"setoption name {name}"
    return f"setoption name {name} value {value or '<empty>'}"
