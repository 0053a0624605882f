"""``board.json``: the newest position of the self-play game that a run shows."""

from dataclasses import fields
from pathlib import Path

from keisei.events import Board, dumps
from keisei.store.files import json_object, read_file, replace_unsynced
from keisei.store.layout import BOARD_FILE


def write_board(run: Path, board: Board) -> None:
    """Replace the board in the folder ``run``, atomically but without a sync. Raises OSError."""
    replace_unsynced(run / BOARD_FILE, dumps(board.to_dict()).encode())


def read_board(run: Path) -> Board | None:
    """Return the newest board of a run; None if there is none, or if the file is damaged."""
    try:
        found = json_object(read_file(run / BOARD_FILE))
        names = {field.name for field in fields(Board)}
        found["top_moves"] = tuple((str(usi), float(share)) for usi, share in found["top_moves"])
        return Board(**{name: value for name, value in found.items() if name in names})
    except (OSError, ValueError, TypeError, KeyError):
        return None
