"""Evaluations that a run starts by itself."""

from pathlib import Path

import pytest
from run_tools import tiny

from keisei import Keisei
from keisei.events import Evaluation

pytestmark = pytest.mark.anyio


async def test_evaluations_come_back_every_so_many_steps(tmp_path: Path) -> None:
    regular = {
        "every_steps": 256, "games": 2, "max_ply": 32, "opponents": "random", "promotion_games": 4,
    }  # fmt: skip
    wanted = tiny(tmp_path, **{f"evaluation.{key}": value for key, value in regular.items()})
    async with Keisei(wanted) as keisei:
        seen: dict[str, int] = {}
        async for event in keisei.events({"eval"}):
            if isinstance(event, Evaluation) and event.state == "done":
                assert event.result is not None
                seen[event.id] = int(event.result["agent"].partition("@")[2])
                if len(seen) == 4:
                    break
    first, test, second, later = seen.values()
    assert 256 <= first <= test < second <= later
    asked = [found["spec"] for found in reversed(keisei.evaluations())][:4]
    assert [spec["promote"] for spec in asked] == [False, True, False, True]
    assert list(asked[1]["opponents"]) == ["best"]
    assert list(asked[1]["sprt"]) == [0, 20]
