"""Matches without input and output: they take moves and say which positions want one."""

from keisei.evaluation.match import Match, MatchResult, MatchSpec, PlayedGame, Wanted, tally
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
