"""``board.json``: the newest position of the self-play game that a run shows."""

from dataclasses import fields
from pathlib import Path

from keisei import formats
from keisei.events import Board, dumps
from keisei.store.files import json_object, read_file, replace_unsynced
from keisei.store.layout import BOARD_FILE


def write_board(run: Path, board: Board) -> None:
    """Replace the board in the folder ``run``, atomically but without a sync. Raises OSError."""
    replace_unsynced(run / BOARD_FILE, dumps({"format": formats.BOARD, **board.to_dict()}).encode())


def read_board(run: Path) -> Board | None:
    """Return the newest board of a run.

    Returns None if there is none, if the file is damaged, or if its format is too new.
    """
    file = run / BOARD_FILE
    try:
        found = json_object(read_file(file))
        if formats.too_new(file, found.get("format"), formats.BOARD):
            return None
        names = {field.name for field in fields(Board)}
        found["top_moves"] = tuple((str(usi), float(share)) for usi, share in found["top_moves"])
        return Board(**{name: value for name, value in found.items() if name in names})
    except (OSError, ValueError, TypeError, KeyError):
        return None
