"""Drive USI engines, and act as a USI engine for GUIs (USI: Universal Shogi Interface).

::

    async with Engine(EngineSpec.parse("usi:/usr/games/fairy-stockfish?nodes=500")) as engine:
        await engine.new_game()
        answer = await engine.go("startpos moves 7g7f")
"""

from keisei.usi.engine import (
    Engine,
    EngineError,
    EngineGone,
    EngineStartError,
    EngineTimeout,
    Timeouts,
    find_engine,
)
from keisei.usi.protocol import BestMove, Info, Option
from keisei.usi.spec import EngineSpec, EngineSpecError

__all__ = [
    "BestMove",
    "Engine",
    "EngineError",
    "EngineGone",
    "EngineSpec",
    "EngineSpecError",
    "EngineStartError",
    "EngineTimeout",
    "Info",
    "Option",
    "Timeouts",
    "find_engine",
]
