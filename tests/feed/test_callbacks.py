"""Callbacks: which hook is called for which event, and hooks that fail or are slow."""

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from keisei.events import Alert, Board, Evaluation, Event, Failed, Game, Iteration, Log, Status
from keisei.feed import callbacks
from keisei.feed.callbacks import Callback, CallbackSink

pytestmark = pytest.mark.anyio

HOOKS = ("on_start", "on_iteration", "on_game", "on_checkpoint", "on_evaluation", "on_end")
AT: dict[str, Any] = {"run": "r", "step": 1, "time": 1.0}
ITERATION = Iteration(**AT, iteration=1, values={"train/kl": 0.1})
GAME = Game(**AT, id=1, result="draw", reason="repetition", plies=9)


def status(kind: Any, message: str = "") -> Status:
    return Status(**AT, kind=kind, state="running", message=message)


class Recorder(Callback):
    """Keeps the calls of its hooks. ``raised`` maps the names of hooks to what they raise."""

    def __init__(self, **raised: BaseException) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.raised = raised

    def __getattribute__(self, name: str) -> Any:
        return self.hook(name) if name in HOOKS else super().__getattribute__(name)

    def hook(self, name: str) -> Any:
        def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments))
            if name in self.raised:
                raise self.raised[name]

        return call


class Alerts(list[tuple[str, str, str]]):
    """A function that reports alerts, and the alerts."""

    def __call__(self, *alert: Any) -> None:
        self.append(alert)


async def called(*events: Event) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    await CallbackSink("mine", recorder, Alerts()).write(events)
    return recorder.calls


async def test_each_hook_gets_its_events_in_order() -> None:
    started, saved, finished = status("started"), status("checkpoint", "/runs/a"), status("stopped")
    evaluated = Evaluation(**AT, id="e", state="done", score=0.5)
    assert await called(started, ITERATION, GAME, saved, evaluated, finished) == [
        ("on_start", started),
        ("on_iteration", ITERATION),
        ("on_game", GAME),
        ("on_checkpoint", saved, Path("/runs/a")),
        ("on_evaluation", evaluated),
        ("on_end", finished),
    ]


async def test_on_end_is_called_however_training_ends() -> None:
    ends = [status("stopped"), status("finished"), Failed(**AT, type="ValueError")]
    assert await called(*ends) == [("on_end", end) for end in ends]


async def test_events_without_a_hook_call_nothing() -> None:
    board = Board(**AT, game=1, sfen="", last_move=None, ply=0, value=None)
    alert = Alert(**AT, name="n", level="info", message="m")
    log = Log(**AT, name="n", level="info", message="m")
    progress = Evaluation(**AT, id="e", state="running", progress=0.5)
    assert await called(board, alert, log, progress, status("paused"), status("running")) == []


async def test_a_callback_needs_only_the_hooks_that_it_wants() -> None:
    class OnlyGames(Callback):
        def on_game(self, event: Game) -> None:
            games.append(event)

    games: list[Game] = []
    sink = CallbackSink("mine", OnlyGames(), Alerts())
    await sink.write([status("started"), ITERATION, GAME, status("checkpoint"), status("stopped")])
    await sink.close()
    assert (games, sink.failures) == ([GAME], 0)


async def test_an_async_hook_is_awaited_before_the_next_event() -> None:
    order = []

    class Slow(Callback):
        async def on_iteration(self, event: Iteration) -> None:
            await anyio.sleep(0.01)
            order.append("iteration")

        def on_game(self, event: Game) -> None:
            order.append("game")

    await CallbackSink("mine", Slow(), Alerts()).write([ITERATION, GAME])
    assert order == ["iteration", "game"]


async def test_a_failure_is_told_once_for_each_hook_and_class_and_then_counted() -> None:
    alerts, recorder = Alerts(), Recorder(on_iteration=ValueError("bad"), on_game=OSError("full"))
    sink = CallbackSink("mine", recorder, alerts)
    await sink.write([ITERATION, GAME, ITERATION, status("stopped")])
    recorder.raised["on_iteration"] = KeyError("other")
    await sink.write([ITERATION])
    counted = "repeats send no alert"
    assert alerts == [
        ("callback mine", "error", f"on_iteration raised ValueError: bad; {counted}"),
        ("callback mine", "error", f"on_game raised OSError: full; {counted}"),
        ("callback mine", "error", f"on_iteration raised KeyError: 'other'; {counted}"),
    ]
    assert sink.failures == 4
    assert len(recorder.calls) == 5, "an event after a failure was lost or sent again"


@pytest.mark.parametrize("error", [SystemExit(3), anyio.get_cancelled_exc_class])
async def test_a_hook_can_neither_end_the_program_nor_cancel_the_run(error: Any) -> None:
    raised = error if isinstance(error, SystemExit) else error()()

    class Rude(Callback):
        async def on_iteration(self, event: Iteration) -> None:
            raise raised

    sink = CallbackSink("mine", Rude(), alerts := Alerts())
    await sink.write([ITERATION])
    assert sink.failures == 1
    assert "on_iteration raised RuntimeError: raised " in alerts[0][2]


async def test_a_waiting_hook_can_be_cancelled_when_the_run_ends() -> None:
    class Endless(Callback):
        async def on_iteration(self, event: Iteration) -> None:
            await anyio.sleep_forever()

    sink = CallbackSink("mine", Endless(), alerts := Alerts())
    with anyio.move_on_after(0.01) as scope:
        await sink.write([ITERATION])
    assert scope.cancelled_caught
    assert (alerts, sink.failures) == ([], 0)


async def test_a_hook_that_holds_the_loop_is_told_once_and_one_that_waits_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callbacks, "SLOW_SECONDS", 0.02)

    class Slow(Callback):
        async def on_game(self, event: Game) -> None:
            await anyio.sleep(0.05)

        def on_iteration(self, event: Iteration) -> None:
            ends = time.perf_counter() + 0.05
            while time.perf_counter() < ends:
                pass

    sink = CallbackSink("mine", Slow(), alerts := Alerts())
    await sink.write([GAME, ITERATION, ITERATION])
    ((name, level, text),) = alerts
    assert (name, level, sink.failures) == ("callback mine", "warning", 0)
    assert text.startswith("on_iteration blocked the event loop for 0.0")
