"""Reads game records in KIF, KI2, CSA and USI files, and turns games into training positions."""

from keisei.records.files import read_game, read_games, record_files
from keisei.records.game import GameRecord, RecordError, Winner
from keisei.records.replay import DRAW, LOSS, UNKNOWN, WIN, Positions, replay

__all__ = [
    "DRAW",
    "LOSS",
    "UNKNOWN",
    "WIN",
    "GameRecord",
    "Positions",
    "RecordError",
    "Winner",
    "read_game",
    "read_games",
    "record_files",
    "replay",
]
