"""Matches on the device thread: failures, memory, order."""

from typing import Any

import numpy as np
import pytest
import torch
from fake_learner import FakeAgent

from keisei.evaluation import MatchSpec
from keisei.runtime.evaluations import AT_ONCE, Evaluations


class Told:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.alerts: list[tuple[str, str, str]] = []

    def event(self, **fields: Any) -> None:
        self.events.append(fields)

    def alert(self, *alert: str) -> None:
        self.alerts.append(alert)  # type: ignore[arg-type]

    def states(self, id: str) -> list[str]:
        return [event["state"] for event in self.events if event["id"] == id]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def evaluations(told: Told) -> Evaluations:
    return Evaluations(told.event, told.alert)


SPEC = MatchSpec("random", games=8, max_ply=12)


class SmallMemory(FakeAgent):
    """Has room for three positions."""

    def __init__(self, room: int = 3) -> None:
        super().__init__()
        self.room = room
        self.batches: list[int] = []

    def choose(self, observation: Any, mask: Any, *, greedy: bool = False) -> Any:
        if len(mask) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(mask))
        return super().choose(observation, mask, greedy=greedy)

    def snapshot(self) -> "SmallMemory":
        return self


class Broken(FakeAgent):
    def choose(self, observation: Any, mask: Any, *, greedy: bool = False) -> Any:
        raise ZeroDivisionError("agent")

    def snapshot(self) -> "Broken":
        return self


def play(evaluations: Evaluations) -> None:
    while evaluations.running:
        evaluations.turn()


def test_out_of_memory_halves_the_batch_and_is_told(evaluations: Evaluations, told: Told) -> None:
    agent = SmallMemory()
    evaluations.add("a", SPEC)
    evaluations.start(agent, 7)
    play(evaluations)
    assert told.states("a")[-1] == "done"
    assert max(agent.batches) <= 3
    assert told.alerts[0][:2] == ("evaluation_memory", "warning")


def test_no_memory_at_all_fails_the_match_only(evaluations: Evaluations, told: Told) -> None:
    evaluations.add("a", SPEC)
    evaluations.start(SmallMemory(room=0), 7)
    play(evaluations)
    assert told.states("a")[-1] == "failed"
    assert "OutOfMemoryError" in told.events[-1]["message"]


def test_one_matchs_failure_is_its_result_and_the_others_go_on(
    evaluations: Evaluations, told: Told
) -> None:
    evaluations.add("good", SPEC)
    evaluations.start(FakeAgent(), 7)
    evaluations.add("bad", SPEC)
    evaluations.start(Broken(), 7)
    play(evaluations)
    assert told.states("good")[-1] == "done"
    assert told.states("bad")[-1] == "failed"
    failed = next(event for event in told.events if event["state"] == "failed")
    assert failed["message"] == "ZeroDivisionError: agent"


def test_only_so_many_play_at_once_and_each_plays_a_copy(
    evaluations: Evaluations, told: Told
) -> None:
    ids = [f"m{number}" for number in range(AT_ONCE + 2)]
    for id in ids:
        evaluations.add(id, SPEC)
    live = FakeAgent()
    evaluations.start(live, 7)
    assert not evaluations.waiting
    assert [id for id in ids if told.states(id)[-1] == "running"] == ids[:AT_ONCE]
    assert all(item.agent is not live for item in evaluations._running.values())
    while evaluations.running or evaluations.waiting:
        evaluations.start(live, 7)
        evaluations.turn()
    assert all(told.states(id)[-1] == "done" for id in ids)
    results = [e["result"] for e in told.events if e["state"] == "done"]
    assert all(np.isclose(result["score"], results[0]["score"]) for result in results)


def test_matches_take_turns_and_tell_which_weights_played(
    evaluations: Evaluations, told: Told
) -> None:
    agents = [SmallMemory(room=4096) for _ in range(3)]
    for number, agent in enumerate(agents):
        evaluations.add(f"m{number}", SPEC)
        evaluations.start(agent, number)
    for turns in range(1, 10):
        evaluations.turn()
        assert sum(len(agent.batches) for agent in agents) == turns
        lengths = [len(agent.batches) for agent in agents]
        assert max(lengths) - min(lengths) <= 1
    play(evaluations)
    assert [e["result"]["step"] for e in told.events if e["state"] == "done"] == [0, 1, 2]


def test_closing_cancels_what_waits_and_what_plays(evaluations: Evaluations, told: Told) -> None:
    for number in range(AT_ONCE + 1):
        evaluations.add(f"m{number}", SPEC)
    evaluations.start(FakeAgent(), 7)
    evaluations.close()
    assert not evaluations.running
    assert not evaluations.waiting
    assert all(told.states(f"m{n}")[-1] == "cancelled" for n in range(AT_ONCE + 1))
