"""The options of the USI engine, and the values that a GUI has given them."""

import re

from keisei.usi.protocol import Option

NEVER_RESIGN = 99_999
"""Value of ``ResignValue`` with which the engine never resigns because of a low score."""
NO_FILE = "<empty>"
"""Word with which GUIs name no file."""

OPTIONS = (
    Option("USI_Hash", "spin", "256", 1, 1_048_576),
    Option("USI_Ponder", "check", "false"),
    Option("Search", "check", "true"),
    Option("NodesLimit", "spin", "0", 0, 1_000_000_000),
    Option("DNN_Batch_Size", "spin", "8", 1, 1024),
    Option("Threads", "spin", "1", 1, 256),
    Option("Device", "combo", "auto", choices=("auto", "cpu", "cuda")),
    Option("MultiPV", "spin", "1", 1, 20),
    Option("PvInterval", "spin", "300", 0, 100_000),
    Option("NetworkDelay", "spin", "120", 0, 10_000),
    Option("ByoyomiMargin", "spin", "0", 0, 10_000),
    Option("MateSolver", "check", "true"),
    Option("Mates", "combo", "3", choices=("0", "1", "3")),
    Option("Sampling", "check", "false"),
    Option("Seed", "spin", "0", 0, 2**31 - 1),
    Option("OwnBook", "check", "false"),
    Option("BookFile", "filename", NO_FILE),
    Option("ResignValue", "spin", str(NEVER_RESIGN), 0, NEVER_RESIGN),
    Option("ResignMoves", "spin", "3", 1, 100),
    Option("MaxMovesToDraw", "spin", "0", 0, 10_000),
    Option("DrawValueBlack", "spin", "0", -5000, 5000),
    Option("DrawValueWhite", "spin", "0", -5000, 5000),
    Option(
        "EnteringKingRule", "combo", "run",
        choices=("run", "CSARule27", "CSARule24", "NoEnteringKing"),
    ),
)  # fmt: skip
"""The engine's options; docs/guide/play-with-a-gui.md explains them."""

_BY_NAME = {option.name.lower(): option for option in OPTIONS}
_BY_NAME["usi_multipv"] = _BY_NAME["multipv"]
_OTHER_NAMES = {
    "27": "CSARule27",
    "csarule27h": "CSARule27",
    "24": "CSARule24",
    "csarule24h": "CSARule24",
    "none": "NoEnteringKing",
}
"""Other names of the values of ``EnteringKingRule``. The rules for handicap games (``H``) differ
from ours only in games with a handicap."""
_SET_OPTION = re.compile(r"name (.+?)(?: value(?: (.*))?)?")


class Options:
    """The values of all options. Names are written as in ``OPTIONS``."""

    def __init__(self) -> None:
        self._values = {option.name: option.default or "" for option in OPTIONS}

    def copy(self) -> "Options":
        """Return independent values, which a later ``set`` does not change."""
        twin = Options()
        twin._values = dict(self._values)
        return twin

    def set(self, text: str) -> str | None:
        """Set the option of a command ``setoption``. Return what is wrong with it, or None.

        Args:
            text: the command without its first word.
        """
        match = _SET_OPTION.fullmatch(text)
        if match is None:
            return f"write setoption name NAME value VALUE (got {text!r})"
        option = _BY_NAME.get(match[1].lower())
        if option is None:  # GUIs set options with the prefix USI_ for every engine
            return None if match[1].lower().startswith("usi_") else f"no option {match[1]}"
        value = _spelled(option, match[2] or "")
        problem = option.problem_with(value)
        if problem:
            return f"{option.name}: {problem}"
        self._values[option.name] = value
        return None

    def flag(self, name: str) -> bool:
        """Return the value of a ``check`` option."""
        return self._values[name] == "true"

    def number(self, name: str) -> int:
        """Return the value of an option that is a whole number."""
        return int(self._values[name])

    def text(self, name: str) -> str:
        """Return the value of an option as text."""
        return self._values[name]


def _spelled(option: Option, value: str) -> str:
    """Return the value as the option spells it: upper and lower case mean the same."""
    if option.type == "filename":
        return value or NO_FILE
    value = value.lower()
    if option.name == "EnteringKingRule":
        value = _OTHER_NAMES.get(value, value)
    spelled = {choice.lower(): choice for choice in option.choices}
    return spelled.get(value.lower(), value)
