"""The files of a run: its directory, checkpoints and database, and a reader for all of them.

All functions block. Only the standard library and safetensors read and write the files. The
module pickle is not used.
"""

from keisei.store.checkpoints import (
    Checkpoint,
    NotFiniteError,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from keisei.store.database import Database, DatabaseError
from keisei.store.directory import (
    DamagedRunError,
    RunDirectory,
    RunError,
    read_settings,
)
from keisei.store.layout import SETTINGS_FILE
from keisei.store.lock import RunLockedError
from keisei.store.manifest import CheckpointError, DamagedCheckpointError
from keisei.store.matches import MatchGame, MatchTable, RatingRow
from keisei.store.reader import RunReader
from keisei.store.resume import MAY_CHANGE, resumed_settings

__all__ = [
    "MAY_CHANGE",
    "SETTINGS_FILE",
    "Checkpoint",
    "CheckpointError",
    "DamagedCheckpointError",
    "DamagedRunError",
    "Database",
    "DatabaseError",
    "MatchGame",
    "MatchTable",
    "NotFiniteError",
    "RatingRow",
    "RunDirectory",
    "RunError",
    "RunLockedError",
    "RunReader",
    "find_checkpoint",
    "load_checkpoint",
    "read_settings",
    "resumed_settings",
    "save_checkpoint",
]
