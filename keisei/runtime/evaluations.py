"""The evaluations of a run that is training: each a task on the loop, its networks on the device thread."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from keisei.config import Settings
from keisei.errors import InboxFull, NotRunning
from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL, EvaluationSpec
from keisei.events import Evaluation
from keisei.hint import did_you_mean
from keisei.play.arena import DeviceArena
from keisei.play.mailbox import Mailbox
from keisei.play.ratings import refit
from keisei.play.tournament import Progress, Tournament
from keisei.play.turns import Network
from keisei.runtime.book import INTERRUPTED, Book, Record
from keisei.store import DatabaseError, RunDirectory, find_checkpoint
from keisei.store.checkpoints import CHECKPOINTS, WEIGHTS
from keisei.store.matches import MatchGame, MatchTable

AT_ONCE = 4
"""Evaluations played side by side; more wait for their turn."""


class Evaluations:
    """Starts, follows and ends the evaluations of a run."""

    def __init__(
        self,
        run: RunDirectory,
        step: int,
        mailbox: Mailbox,
        book: Book,
        emit: Callable[..., None],
        interrupted: Sequence[Record] = (),
    ) -> None:
        """``emit(Evaluation, id=..., ...)`` tells everybody; ``step``: where training begins;
        ``interrupted``: evaluations of the run's earlier processes, to be played on.
        """
        self.values: dict[str, float] = {}
        """Metrics of the evaluation that ended last and was no test for ``best``."""
        self._run, self._mailbox, self._book, self._emit = run, mailbox, book, emit
        self._step, self._due, self._interrupted = step, time.monotonic(), interrupted
        self._places = anyio.Semaphore(AT_ONCE)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._open = anyio.Event()
        for record in interrupted:
            self._pin(record)
        self._regular = list(interrupted)

    async def host(self, until: Callable[[], Any]) -> None:
        """Let evaluations be played until ``until()`` returns; those still in play are interrupted."""
        async with anyio.create_task_group() as self._group:
            self._open.set()
            for record in self._interrupted:
                self._begin(record)
            await until()
            self._group.cancel_scope.cancel()

    async def start(self, spec: EvaluationSpec, key: str | None) -> Record:
        """Begin one; the same key again gives the same. Raises InboxFull, KeyReused, NotRunning."""
        await self._open.wait()
        record, new = self._book.add(spec, key)
        if new:
            if self._mailbox.closed:
                self._book.drop(record)
                raise NotRunning("the run has ended")
            self._begin(record)
        return record

    def note(self, step: int) -> None:
        """Training has reached a step: begin the regular evaluations if they are due.

        Those that are still played when the next are due take their place.
        """
        settings, before, self._step = self._run.settings.evaluation, self._step, step
        due = settings.every_steps and step // settings.every_steps > before // settings.every_steps
        if settings.every_minutes and time.monotonic() - self._due >= 60 * settings.every_minutes:
            self._due, due = time.monotonic(), True
        if due and self._open.is_set() and all(record.done.is_set() for record in self._regular):
            self._group.start_soon(self._begin_regular)

    async def _begin_regular(self) -> None:
        with suppress(InboxFull, NotRunning):  # as many as may wait do; the run ends
            self._regular = []
            specs = [regular_spec(self._run.settings)]
            if self._run.settings.evaluation.promotion_games:
                specs.append(promotion_spec(self._run.settings))
            for spec in specs:
                self._regular.append(await self.start(spec, None))

    def cancel(self, id: str) -> None:
        """End one early; nothing happens if it has ended. Raises KeyError."""
        record = self._book.get(id)
        if record is None:
            raise KeyError(id)
        if id in self._scopes:
            self._scopes[id].cancel()

    def _begin(self, record: Record) -> None:
        self._scopes[record.id] = anyio.CancelScope()
        self._tell(record, "queued")
        self._group.start_soon(self._evaluate, record)

    async def _evaluate(self, record: Record) -> None:
        state, more = "interrupted", {"message": INTERRUPTED}
        try:
            with self._scopes[record.id] as scope:
                async with self._places:
                    result, error = await self._play(record)
                state, more = await self._settle(record, result, error)
            if scope.cancelled_caught:
                state, more = "cancelled", {}  # first: the run may end while the players are rated
                more["message"] = await self._rate()
        except NotRunning:
            if scope.cancel_called:
                state, more = "cancelled", {}
        except Exception as error:  # noqa: BLE001 (it becomes the evaluation's result)
            state, more = "failed", {"message": _join(_text(error), await self._rate())}
        finally:
            del self._scopes[record.id]
            if state != "interrupted":
                self._run.pinned.pop(record.id, None)
            self._tell(record, state, **more)

    async def _play(self, record: Record) -> tuple[dict[str, Any], str]:
        """The result of what was played, and what ended it early."""
        spec = record.spec or EvaluationSpec.from_dict(record.fields["spec"])
        run, players = self._run, record.fields["players"]
        players |= await to_thread.run_sync(_checkpoints, run, spec, players)
        self._pin(record)
        tournament = Tournament(
            spec,
            _Arena(self._mailbox, run.path, partial(self._took, record)),
            names={name: _absolute(run, found) for name, found in players.items()},
            show=partial(self._show, record),
            keep=partial(keep_games, run.path, record.id),
            kept=await to_thread.run_sync(kept_games, run.path, record.id),
        )
        try:
            result = await tournament.run()
        except NotRunning:
            raise
        except Exception as error:  # noqa: BLE001 (it becomes the evaluation's result)
            return await to_thread.run_sync(tournament.result), _text(error)
        return result, ended_early(result)

    def _took(self, record: Record, step: int) -> None:
        """Now it is known which weights ``current`` stands for."""
        record.fields["measured"] = step
        record.fields["players"][CURRENT] = _relative(self._run, self._run.checkpoint(step))
        self._pin(record)

    def _pin(self, record: Record) -> None:
        """Let those of the run's checkpoints stay that it plays with."""
        own = [path for path in record.fields["players"].values() if path.startswith(CHECKPOINTS)]
        self._run.pinned[record.id] = {int(Path(path).name) for path in own}

    async def _settle(
        self, record: Record, result: dict[str, Any], error: str
    ) -> tuple[str, dict[str, Any]]:
        """State and what else is told of an evaluation that was played; promote if it says so."""
        message = await self._rate()
        if error:
            return "failed", {"result": result or None, "message": _join(error, message)}
        if not record.fields["spec"].get("promote"):
            values = {"eval/score": result.get("score"), "eval/elo": result.get("elo")}
            self.values = {name: value for name, value in values.items() if value is not None}
        elif result.get("sprt", {}).get("decision") == "accept":
            players = record.fields["players"]
            done = await to_thread.run_sync(_promote, self._run, players[CURRENT], players[BEST])
            message = _join(message, f"{result['agent']} {done}")
        return "done", {"result": result, "message": message, "progress": 1.0}

    async def _rate(self) -> str:
        """Rate all players anew. Returns why the ratings were not kept, or nothing."""
        try:
            await to_thread.run_sync(refit, self._run.path)
        except DatabaseError as error:
            return f"the ratings were not kept: {error}"
        return ""

    def _show(self, record: Record, progress: Progress) -> None:
        self._tell(
            record,
            "running",
            games=progress.games,
            progress=progress.ended / progress.games,
            score=progress.score,
            interval=progress.interval,
        )

    def _tell(self, record: Record, state: str, **more: Any) -> None:
        names = {field.name for field in fields(Evaluation)} - {"state", "result", "message"}
        known = {name: record.fields[name] for name in names & record.fields.keys()}
        self._emit(Evaluation, **known | {"state": state} | more)


class _Arena(DeviceArena):
    """Tells which weights it took for ``current``."""

    def __init__(self, mailbox: Mailbox, run: Path, took: Callable[[int], None]) -> None:
        """``took`` is called with their step."""
        super().__init__(mailbox)
        self._run, self._took = run, took

    async def open(self, source: str) -> Network:
        network = await super().open(source)
        if source == CURRENT:
            self._took(network.step)
            return replace(network, home=self._run)
        return network


def _checkpoints(run: RunDirectory, spec: EvaluationSpec, known: dict[str, str]) -> dict[str, str]:
    """Which checkpoint each run stands for from now on, and ``best``: ``random`` if there is none.

    Beyond those that are known. A resumed evaluation must go on with the same. Blocking. Raises
    CheckpointError.
    """
    found = {}
    for name in {*spec.agents, *spec.opponents} - {CURRENT, *LOCAL} - known.keys():
        if name == BEST:
            found[name] = _best(run)
        elif not name.startswith(ENGINE):
            found[name] = _relative(run, find_checkpoint(Path(name), only=WEIGHTS)[0])
    return found


def _best(run: RunDirectory) -> str:
    best = run.best_checkpoint
    return _relative(run, best) if best else "random"


def _relative(run: RunDirectory, folder: Path) -> str:
    """The run's own checkpoints from its folder on: a run may be moved."""
    folder = folder.absolute()
    return str(folder.relative_to(run.path) if folder.is_relative_to(run.path) else folder)


def _absolute(run: RunDirectory, name: str) -> str:
    return name if name in LOCAL else str(run.path / name)


def _promote(run: RunDirectory, winner: str, loser: str) -> str:
    """Make the winner the run's best if the loser still is. Blocking. Returns what was done."""
    if _best(run) not in (winner, loser):
        return "was accepted, but another network has become the run's best meanwhile"
    try:
        run.promote(int(Path(winner).name))
    except OSError as error:
        return f"was accepted, but could not become the run's best: {error}"
    return "is the run's best now"


def regular_spec(settings: Settings) -> EvaluationSpec:
    """The evaluation that is due again and again. Raises ValueError naming the setting."""
    wanted = settings.evaluation
    try:
        return EvaluationSpec(
            opponents=tuple(wanted.engines.get(name, name) for name in wanted.opponents),
            strategy=wanted.strategy,
            games=wanted.games,
            max_ply=wanted.max_ply,
            declaration=settings.env.declaration,
            concurrency=wanted.concurrency,
        )
    except ValueError as error:
        raise ValueError(f"evaluation.{error}") from None


def check_opponents(settings: Settings) -> None:
    """Refuse opponents of the regular evaluations that are not there. Raises ValueError."""
    known = (*LOCAL, CURRENT, BEST, *settings.evaluation.engines)
    for text in settings.evaluation.opponents:
        if text not in known and not text.startswith(ENGINE) and not Path(text).exists():
            hint = did_you_mean(text, known)
            raise ValueError(f"evaluation.opponents: {text}: no such file or folder{hint}")


def promotion_spec(settings: Settings) -> EvaluationSpec:
    """The sequential test of whether ``current`` is stronger than ``best``."""
    wanted = settings.evaluation
    return EvaluationSpec(
        opponents=(BEST,),
        games=wanted.promotion_games,
        sprt=(0.0, wanted.promotion_elo),
        promote=True,
        max_ply=wanted.max_ply,
        declaration=settings.env.declaration,
    )


def keep_games(run: Path, evaluation: str, games: list[MatchGame]) -> None:
    """Write games to the run's database. Blocking. Raises DatabaseError."""
    with closing(MatchTable(run)) as table:
        table.add(evaluation, games)


def kept_games(run: Path, evaluation: str) -> list[MatchGame]:
    """Games of an evaluation that was interrupted. Blocking. Raises DatabaseError."""
    with closing(MatchTable(run)) as table:
        return table.games(evaluation)


def ended_early(result: dict[str, Any]) -> str:
    """What ended a match of an evaluation before its time, or nothing."""
    matches = result.get("matches", [result])
    errors = [f"ended early: {match['error']}" for match in matches if match.get("error")]
    return errors[0] if errors else ""


def _join(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
