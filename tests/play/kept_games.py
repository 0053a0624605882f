"""Games of evaluations as the database keeps them."""

from typing import Any

from keisei.store.matches import MatchGame


def kept_game(number: int, **changed: Any) -> MatchGame:
    """Return a game of three plies that ``run@1`` won with black against ``random``."""
    fields: dict[str, Any] = {
        "pair": number // 2,
        "opening": "startpos moves 7g7f",
        "black": "run@1",
        "white": "random",
        "result": "black",
        "reason": "checkmate",
        "plies": 3,
        "start": "startpos",
        "moves": "7g7f 3c3d 2g2f",
        "time": 5.5,
    }
    return MatchGame(number=number, **fields | changed)
