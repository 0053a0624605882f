"""The players that a request may name, such as a run of ``run.root`` by its id."""

import os
import re
from pathlib import Path

from keisei.config import Settings
from keisei.evaluation.network_options import split_options
from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL
from keisei.hint import did_you_mean
from keisei.resources import SHIPPED
from keisei.store.layout import CHECKPOINTS, SETTINGS_FILE, checkpoint_name

_ID = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*)(?:/(\d{1,18}))?", re.ASCII)
"""Pattern of ``RUN`` or ``RUN/STEP``. No path out of ``run.root`` matches this pattern."""


def find_player(text: str, settings: Settings) -> str:
    """Return the player specification that ``text`` names. Raises ValueError for unknown names.

    A request can name an engine of the settings. A request cannot describe an engine, because the
    command line in a description would let a client run any program. If the server needs a token,
    clients can be on other machines, so a request cannot name a path either.
    """
    name, options = split_options(text)
    if options:
        return f"{find_player(name, settings)}?{options}"
    named = (*LOCAL, SHIPPED, CURRENT, BEST)
    engines, paths = settings.evaluation.engines, not settings.server.token_file
    if text in named:
        return text
    if text in engines:
        return engines[text]
    if folder := _folder(text, settings.run.root):
        return str(folder)
    if paths and not text.startswith(ENGINE) and os.path.isdir(text):  # noqa: PTH112 (Path.is_dir may raise)
        return text
    hint = did_you_mean(text, [*named, *engines]) or "."
    raise ValueError(
        f"opponent: {text!r} is unknown{hint} "
        f"Use {', '.join(named)}, a run's id (RUN) or a checkpoint's (RUN/STEP), "
        f"{'the folder of a run or checkpoint, ' if paths else ''}or the name "
        f"of an engine in the setting evaluation.engines (now: {', '.join(engines) or 'none'})"
    )


def find_network(text: str, settings: Settings) -> str:
    """Return the network that ``text`` names, as ``Source.choose_move`` takes it.

    A request cannot name a path. Raises ValueError for unknown names.
    """
    named = (CURRENT, BEST, SHIPPED)
    if text in named:
        return text
    if folder := _folder(text, settings.run.root):
        return str(folder)
    raise ValueError(
        f"{text!r} is not a network{did_you_mean(text, [*named]) or '.'} "
        f"Use {', '.join(named)}, a run's id (RUN) or a checkpoint's (RUN/STEP)"
    )


def _folder(text: str, root: Path) -> Path | None:
    """Return the folder of a run (``RUN``) or checkpoint (``RUN/STEP``) in ``root``, or None."""
    found = _ID.fullmatch(text)
    if not found:
        return None
    run, step = found.groups()
    folder = root / run
    # Path.is_file raises OSError for a long name.
    if not os.path.isfile(folder / SETTINGS_FILE):  # noqa: PTH113
        return None
    if step is None:
        return folder
    checkpoint = folder / CHECKPOINTS / checkpoint_name(int(step))
    return checkpoint if os.path.isdir(checkpoint) else None  # noqa: PTH112
