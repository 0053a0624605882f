"""An evaluation is played to its end; what goes wrong is part of its ending."""

from typing import Any, cast

import pytest

from keisei.errors import NotRunning
from keisei.play.evaluation import Ending, describe, play_to_the_end
from keisei.play.tournament import Tournament

pytestmark = pytest.mark.anyio
ONE = {"agent": "a", "opponent": "random", "score": 0.5}


class FakeTournament:
    """Ends with a result or an error; ``result`` returns what was played until then."""

    def __init__(self, ending: Any, played: Any = None) -> None:
        self.ending, self.played = ending, played

    async def run(self) -> Any:
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending

    def result(self) -> Any:
        return self.played


async def play(ending: Any, played: Any = None) -> Ending:
    return await play_to_the_end(cast("Tournament", FakeTournament(ending, played)))


@pytest.mark.parametrize("result", [ONE, {"matches": [ONE, ONE]}, ONE | {"error": None}])
async def test_an_evaluation_that_went_well_is_done(result: dict[str, Any]) -> None:
    ending = await play(result)
    assert ending == Ending(result)
    assert (ending.state, ending.message) == ("done", "")


@pytest.mark.parametrize(
    "result",
    [
        ONE | {"error": "picky exited"},
        {"matches": [ONE, ONE | {"error": "picky exited"}, ONE | {"error": "later"}]},
    ],
)
async def test_a_match_that_ended_early_makes_a_failed_evaluation_with_its_result(
    result: dict[str, Any],
) -> None:
    ending = await play(result)
    assert (ending.state, ending.result) == ("failed", result)
    assert (ending.message, ending.error) == ("ended early: picky exited", None)


async def test_an_error_makes_a_failed_evaluation_with_what_was_played_until_then() -> None:
    error = MemoryError("no room")
    ending = await play(error, ONE)
    assert ending == Ending(ONE, "MemoryError: no room", error)
    assert ending.state == "failed"


async def test_the_end_of_the_device_thread_is_raised_so_that_the_evaluation_can_go_on_later() -> (
    None
):
    with pytest.raises(NotRunning, match="the run ended"):
        await play(NotRunning("the run ended"), ONE)


def test_a_group_is_described_by_its_first_error() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("one", [KeyError("x")]), ValueError("no")])
    assert describe(group) == "KeyError: 'x'"
    assert describe(OSError("full")) == "OSError: full"
