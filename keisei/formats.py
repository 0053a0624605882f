"""Numbers of the formats of files on disk, and the message about a newer format."""

from pathlib import Path

SETTINGS = 2
"""Format of ``run.toml``. Format 1 contains no number."""
MANIFEST = 1
"""Format of a checkpoint's ``manifest.json`` and of the list of its files."""
STATE = 2
"""Format of the training state in a checkpoint: ``state.json`` and the tensors."""
BOARD = 1
"""Format of ``board.json``."""
WANDB = 1
"""Format of ``wandb.json``. The first files contain no number."""


def too_new(file: Path, found: object, known: int) -> str:
    """Return the message about a file of a format above ``known``; "" for any other file."""
    if not isinstance(found, int) or found <= known:
        return ""
    return f"{file}: made by a newer Keisei: format {found}; this one reads up to format {known}"
