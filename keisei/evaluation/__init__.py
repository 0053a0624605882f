"""Matches, ratings and tests of strength, without input and output.

A match returns the positions in which a network is to move, and the caller supplies the moves.
"""

from keisei.evaluation.batch import Wanted
from keisei.evaluation.game import PlayedGame
from keisei.evaluation.match import Match
from keisei.evaluation.match_spec import MatchSpec
from keisei.evaluation.result import MatchResult, tally
from keisei.evaluation.statistics import score_interval

__all__ = [
    "Match",
    "MatchResult",
    "MatchSpec",
    "PlayedGame",
    "Wanted",
    "score_interval",
    "tally",
]
