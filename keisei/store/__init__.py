"""What is kept on disk: run directories, checkpoints, the database, and a reader of all of them.

Synchronous; uses the standard library and safetensors. Nothing here is pickled.
"""

from keisei.store.checkpoints import (
    Checkpoint,
    CheckpointError,
    DamagedCheckpointError,
    NotFiniteError,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from keisei.store.database import Database, DatabaseError
from keisei.store.directory import (
    SETTINGS_FILE,
    DamagedRunError,
    RunDirectory,
    RunError,
    read_settings,
)
from keisei.store.lock import RunLockedError
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
