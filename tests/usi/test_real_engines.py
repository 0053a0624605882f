"""Real engines, which Debian ships."""

import pytest
from engine_tools import debian, nothing_left

from keisei.shogi import Position
from keisei.usi import Engine, EngineGone, EngineSpec, EngineStartError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", autouse=True)
def rules() -> None:
    """Compile the rules first: that would block the event loop of a test."""
    Position().outcome()


async def play(spec: EngineSpec, plies: int) -> Position:
    """Let the engine play against itself."""
    position, moves = Position(), list[str]()
    async with Engine(spec) as engine:
        await engine.new_game()
        for _ in range(plies):
            answer = await engine.go(" ".join(["startpos moves", *moves]) if moves else "startpos")
            position.push(answer.move)
            moves.append(answer.move)
        engine.game_over("draw")
    return position


async def test_fairy_stockfish_plays_thirty_legal_moves() -> None:
    path = debian("fairy-stockfish", "fairy-stockfish")
    async with nothing_left():
        spec = EngineSpec.parse(f"usi:{path}?nodes=500&Skill Level=-4&Threads=1")
        position = await play(spec, 30)
    assert position.ply == 30


async def test_an_option_that_fairy_stockfish_lacks_is_refused() -> None:
    path = debian("fairy-stockfish", "fairy-stockfish")
    for option, said in (("Skill=3", "options: Skill Level"), ("Skill Level=21", "-20 to 20")):
        with pytest.raises(EngineStartError, match=said):
            await Engine(EngineSpec.parse(f"usi:{path}?nodes=5&{option}")).__aenter__()


async def test_fairy_stockfish_resigns_when_mated_and_gives_the_score() -> None:
    path = debian("fairy-stockfish", "fairy-stockfish")
    async with Engine(EngineSpec.parse(f"usi:{path}?depth=4")) as engine:
        assert (await engine.go("sfen 4k4/4G4/4G4/9/9/9/9/9/4K4 w - 1")).move == "resign"
        await engine.go("sfen 4k4/9/4G4/9/9/9/9/9/4K4 b G 1")
        assert engine.info is not None
        assert engine.info.mate == 1


async def test_gpsshogi_plays_with_a_clock_and_crashes_without_one() -> None:
    path = debian("gpsusi", "gpsshogi")
    async with nothing_left():
        position = await play(EngineSpec.parse(f"usi:{path}?byoyomi=100"), 6)
    assert position.ply == 6
    async with nothing_left(), Engine(EngineSpec.parse(f"usi:{path}?nodes=500")) as engine:
        with pytest.raises(EngineGone, match="killed by signal 6"):
            await engine.go("startpos")
