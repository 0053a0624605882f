"""Evaluations that a run starts by itself: when they are due, and what they play."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_tools import tiny

from keisei import Keisei, Settings
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.runtime.evaluation_records import EvaluationRecord
from keisei.runtime.regular import RegularEvaluations

pytestmark = pytest.mark.anyio


class FakeEvaluations:
    """Keeps what it was asked to start; nothing is played."""

    def __init__(self) -> None:
        self.records: list[EvaluationRecord] = []
        self.waiting: list[Callable[[], Any]] = []

    def start_soon(self, start: Callable[[], Any]) -> None:
        self.waiting.append(start)

    async def start(self, spec: EvaluationSpec) -> EvaluationRecord:
        self.records.append(EvaluationRecord({}, spec))
        return self.records[-1]

    async def started(self) -> list[EvaluationRecord]:
        """Start what waits; return the new records."""
        before = len(self.records)
        waiting, self.waiting = self.waiting, []
        for start in waiting:
            await start()
        return self.records[before:]


def regular(
    fake: FakeEvaluations,
    *,
    step: int = 0,
    unfinished: Sequence[EvaluationRecord] = (),
    **chosen: Any,
) -> RegularEvaluations:
    settings = Settings.load(overrides={f"evaluation.{key}": chosen[key] for key in chosen})
    return RegularEvaluations(settings, fake, step, unfinished)  # type: ignore[arg-type]


async def test_an_evaluation_starts_when_training_passes_a_multiple_of_every_steps() -> None:
    fake = FakeEvaluations()
    due = regular(fake, step=150, every_steps=100, promotion_games=0)
    due.reached(190)
    assert await fake.started() == []
    due.reached(210)
    (first,) = await fake.started()
    first.change(state="done")
    due.reached(290)
    assert await fake.started() == []
    due.reached(520)  # several multiples are passed at once: one evaluation
    assert len(await fake.started()) == 1


async def test_none_starts_while_earlier_ones_still_play() -> None:
    fake = FakeEvaluations()
    due = regular(fake, every_steps=100, promotion_games=4)
    due.reached(100)
    score, test = await fake.started()
    due.reached(200)
    score.change(state="done")
    due.reached(300)
    assert await fake.started() == [], "the test for ``best`` still plays"
    test.change(state="cancelled")
    due.reached(400)
    assert len(await fake.started()) == 2


async def test_none_starts_while_those_of_an_earlier_process_still_play() -> None:
    fake, earlier = FakeEvaluations(), EvaluationRecord({"state": "running"})
    due = regular(fake, every_steps=100, unfinished=[earlier], promotion_games=0)
    due.reached(100)
    assert await fake.started() == []
    earlier.change(state="done")
    due.reached(200)
    assert len(await fake.started()) == 1


async def test_an_evaluation_is_due_every_so_many_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("keisei.runtime.regular.time.monotonic", lambda: now)
    fake = FakeEvaluations()
    due = regular(fake, every_minutes=2, promotion_games=0)
    now += 119
    due.reached(1)
    assert await fake.started() == []
    now += 1
    due.reached(2)
    (first,) = await fake.started()
    first.change(state="done")
    due.reached(3)
    assert await fake.started() == []


async def test_a_run_tests_for_best_after_each_regular_evaluation(tmp_path: Path) -> None:
    regular = {
        "every_steps": 256, "games": 2, "max_ply": 32, "opponents": "random", "promotion_games": 4,
    }  # fmt: skip
    wanted = tiny(tmp_path, **{f"evaluation.{key}": value for key, value in regular.items()})
    async with Keisei(wanted) as keisei:
        seen: dict[str, int] = {}
        async for event in keisei.events({"eval"}):
            if isinstance(event, Evaluation) and event.state == "done":
                assert event.result is not None
                seen[event.id] = int(
                    event.result["agent"].partition("@")[2].removesuffix(" mates=1")
                )
                if len(seen) == 4:
                    break
    first, test, second, later = seen.values()
    assert 256 <= first <= test < second <= later
    asked = [found["spec"] for found in reversed(keisei.evaluations())][:4]
    assert [spec["promote"] for spec in asked] == [False, True, False, True]
    assert list(asked[1]["opponents"]) == ["best"]
    assert list(asked[1]["sprt"]) == [0, 20]
