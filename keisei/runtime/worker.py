"""The device thread: everything that touches the network, the games and the device happens here."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from keisei.config import Settings
from keisei.errors import NotRunning, unwrap
from keisei.evaluation.spec import CURRENT
from keisei.events import Alert, Board, Event, Failed, Game, Iteration, State, Status
from keisei.feed.outbox import Outbox
from keisei.play.mailbox import Command, Mailbox, Ply, Question, deliver
from keisei.play.moves import answer
from keisei.play.turns import Matches
from keisei.ppo.detectors import DivergedError
from keisei.ppo.ranks import Ranks
from keisei.process import heap_bytes
from keisei.runtime.follower import collect_parts, start_others
from keisei.runtime.learners import Learner, Report, begin
from keisei.runtime.rollback import GoodCheckpoints
from keisei.runtime.status import Start
from keisei.runtime.turns import Pace, Share
from keisei.store import NotFiniteError, RunDirectory, save_checkpoint

BOARD_SECONDS = 0.5
"""Between two boards."""
FINISH_SECONDS = 3.0
"""An iteration that is asked to stop is finished if no more than this is left of it."""
Phase = Literal["start", "compile", "iteration", "evaluation", "save", "rollback", "idle", "ended"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    kind: Literal["finished", "stopped", "failed"]
    error: str = ""
    """Type and message of what the worker raised."""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the worker is to do."""

    settings: Settings
    run: RunDirectory
    resumed: Path | None
    init: Path | None
    start: Start
    keep_serving: bool
    build: Callable[[Settings], Learner]
    ranks: Ranks
    """Who trains with us; ours is rank 0."""


class Worker:
    """One run's device thread. ``main`` is its life; all else here is called from there."""

    def __init__(self, plan: Plan, mailbox: Mailbox, outbox: Outbox) -> None:
        self.beat: tuple[Phase, float] = ("start", time.monotonic())
        """Phase and when it last showed life (monotonic seconds); read by the watchdog."""
        self._plan = plan
        self._settings = plan.settings
        self._ranks = plan.ranks
        self._mailbox = mailbox
        self._outbox = outbox
        self._state: State = "starting"
        self._learner: Learner
        self._generator: Generator[None, None, Report] | None = None
        self._paused = False
        self._finished = False
        self._leaving: float | None = None
        self.elapsed = plan.start.elapsed
        """Seconds trained so far, in all processes of the run; the loop reads it too."""
        self._step = plan.start.step
        self._saved_step = -1
        self._save_due = 0.0
        self._refused = 0
        """Saves in a row that were refused, for a number was not finite."""
        self._savers: list[Command] = []
        self._openers: list[Command] = []
        self._rollbacks = 0
        self._good = GoodCheckpoints(plan.run)
        self._looked = 0.0
        self._board_due = 0.0
        self._blind: set[str] = set()
        self._share = Share(plan.settings.evaluation.share)
        self._pace = Pace()
        self._marks = (0, 0.0, 0.0)
        run, settings = plan.run.id, plan.settings
        limits = settings.evaluation
        self._matches = Matches(
            run, settings.env, settings.device, self._alert,
            memory_mib=limits.memory_mib, batch=limits.batch,
        )  # fmt: skip
        # Asked on the loop: a new thread would tell what was set last, perhaps by another run.
        self._host_threads = torch.get_num_threads()

    def main(self) -> Outcome:
        """Start, train, save. Returns how it ended; raises nothing."""
        try:
            outcome = self._live()
            self._ranks.tell("end")
        except BaseException as error:  # noqa: BLE001 (the thread's edge: whatever it is, tell)
            return self._fail(error)
        else:
            return outcome
        finally:
            torch.set_num_threads(self._host_threads)  # anyio's thread goes back to the host
            self._mailbox.close()
            refused = NotRunning("the run ended before this was done")
            deliver((command.finished, refused) for command in self._savers + self._openers)
            self._beat("ended")

    # ------------------------------------------------------------------ life
    def _live(self) -> Outcome:
        self._status("started", "starting")
        if self._mailbox.stopping():
            self._status("stopped", "stopped")
            return Outcome("stopped")
        self._status("compiling", "compiling")
        try:
            self._start()
            if not self._mailbox.stopping():
                self._status("running", "running", _chosen(self._settings))
                self._turns()
            return self._end()
        finally:
            self._matches.close()
            if hasattr(self, "_learner"):
                self._learner.env.close()
                del self._learner

    def _start(self) -> None:
        self._beat("compile")
        if self._settings.compute.threads:
            # OpenMP's thread count belongs to a thread; only the one that computes can set its own.
            # Torch gives it to threads that start later, too: what the settings ask of the process.
            torch.set_num_threads(self._settings.compute.threads)
        plan = self._plan
        start_others(self._ranks, plan.run.path, plan.resumed, plan.init)
        self._learner = plan.build(self._settings)
        checkpoint = begin(self._learner, plan.resumed, plan.init)
        for rank, failure in enumerate(self._ranks.gather(self._learner.compile_failure)):
            if failure:
                who = f"rank {rank} " if self._ranks.size > 1 else ""
                self._alert("compile", "warning", f"{who}runs uncompiled: {failure}")
        if checkpoint:
            self._rollbacks = checkpoint.state["rollbacks"]
            self._saved_step = checkpoint.step
            if "good" in checkpoint.state:  # not in those of earlier versions
                self._good.load_state(checkpoint.state["good"])
            self._good.note(checkpoint.step, checkpoint.state)
        self._step = self._learner.step
        self._marks = (self._step, 0.0, 0.0)
        self._looked = time.monotonic()

    def _turns(self) -> None:
        while True:
            self._obey()
            stopping = self._mailbox.stopping()
            if self._generator is None:
                self._between(stopping=stopping)
                if stopping or (self._finished and not self._plan.keep_serving):
                    return
            elif stopping and not self._worth_finishing():
                self._generator.close()
                return
            self._turn(stopping=stopping)

    def _end(self) -> Outcome:
        if self._finished:
            return Outcome("finished")
        message = ""
        if self._generator is not None:
            message = "the iteration in progress was given up; the last checkpoint stands"
        elif self._saved_step != self._learner.step > 0:
            message = self._save_last()
        self._status("stopped", "stopped", message)
        return Outcome("stopped")

    def _fail(self, error: BaseException) -> Outcome:
        self._generator = None
        self._ranks.desert()  # the others may be anywhere, waiting for us
        self._mailbox.close()  # before the news: what comes after it must be refused
        failed, outcome = failure(error, self._plan.run.id, self._step)
        self._outbox.emit(failed, always=True)
        return outcome

    # ------------------------------------------------------------------ turns
    def _turn(self, *, stopping: bool) -> None:
        train = self._wants_training(stopping=stopping)
        evaluate = (self._matches.running or self._mailbox.asked) and not stopping
        if evaluate and (not train or self._share.evaluation_due()):
            self._evaluation_turn(wanted_by_training=train)
        elif train:
            self._training_turn()
        else:
            self._beat("idle")
            self._ranks.tell("idle")
            self._mailbox.wait(0.5)
        now = time.monotonic()
        if not (self._paused or self._finished):
            self.elapsed += now - self._looked
        self._looked = now

    def _evaluation_turn(self, *, wanted_by_training: bool) -> None:
        self._beat("evaluation")
        self._ranks.tell("idle")
        since = time.monotonic()
        asked = self._mailbox.questions()
        questions = [item for item in asked if isinstance(item, Question)]
        deliver(answer(self._learner.agent, self._settings.env, questions))
        self._matches.turn([item for item in asked if isinstance(item, Ply)])
        if wanted_by_training:
            self._share.evaluated(time.monotonic() - since)

    def _training_turn(self) -> None:
        self._beat("iteration")
        self._ranks.tell("train")
        if self._generator is None:
            self._generator = self._learner.iterate()
        since = time.monotonic()
        report: Report | None = None
        try:
            next(self._generator)
        except StopIteration as end:
            report = end.value
        spent = time.monotonic() - since
        self._share.trained(spent)
        self._pace.add(spent)
        if report is not None:
            self._generator = None
            self._pace.done()
            self._publish(report)
            self._react(report)
        self._show_board()

    def _wants_training(self, *, stopping: bool) -> bool:
        if self._finished:
            return False
        if self._generator is None:
            return not self._paused
        # A pause holds in mid-iteration; what can only be done between two iterations ends that.
        return not self._paused or stopping or bool(self._savers) or bool(self._openers)

    def _worth_finishing(self) -> bool:
        now = time.monotonic()
        if self._leaving is None:
            self._leaving = now
        waited = now - self._leaving
        return waited + self._pace.left() <= FINISH_SECONDS

    def _between(self, *, stopping: bool) -> None:
        if not self._finished and self._is_over():
            message = self._save_last()
            self._finished = True
            self._status("finished", "finished", message)
        elif self._savers or self._save_is_due():
            self._save_or_alert()
        if not stopping:
            openers, self._openers = self._openers, []
            for command in openers:  # only here the weights hold still
                self._matches.obey(command, self._learner.agent, self._learner.step)

    def _save_is_due(self) -> bool:
        """The weights that an evaluation measures are kept: a resumed run goes on with it."""
        step, measured = self._learner.step, any(c.payload == CURRENT for c in self._openers)
        if step == self._saved_step:
            return False
        return measured or (step > 0 and time.monotonic() >= self._save_due)

    def _is_over(self) -> bool:
        run = self._settings.run
        return 0 < run.steps <= self._learner.step or 0 < run.minutes * 60 <= self.elapsed

    # ------------------------------------------------------------------ commands
    def _obey(self) -> None:
        for command in self._mailbox.commands():
            if command.kind == "open" and command.payload == CURRENT:
                self._openers.append(command)  # between two iterations: its weights hold still then
            elif command.kind in {"open", "close", "play", "end"}:
                self._matches.obey(command)
            elif self._finished:
                command.finished.fail(NotRunning(f"cannot {command.kind}: the run has finished"))
            elif command.kind == "checkpoint":
                self._savers.append(command)
            else:
                self._hold(command)

    def _hold(self, command: Command) -> None:
        pause = command.kind == "pause"
        if pause != self._paused:
            self._paused = pause
            if pause:
                self._status("paused", "paused")
            else:
                self._status("resumed", "running", _chosen(self._settings))
        command.finished.set(None)

    # ------------------------------------------------------------------ checkpoints
    def _save_or_alert(self) -> None:
        try:
            self._save(self._state)
        except OSError as error:  # a full disk must not end training
            self._alert("checkpoint_failed", "error", f"{type(error).__name__}: {error}")
            self._settle_savers(error)
        except NotFiniteError as error:
            self._refuse(error)

    def _save_last(self) -> str:
        """Save what the run ends with. Returns what there is to say of it. Raises OSError."""
        try:
            self._save("stopping")
        except NotFiniteError as error:
            self._tell_refusal(error)
            return f"{error}: not saved; the last finite checkpoint stands"
        return ""

    def _refuse(self, error: NotFiniteError) -> None:
        """Do what is set for ``nonfinite``: weights or moments are not finite.

        A moment that is infinite makes no loss so: an alert alone would let training go on without
        checkpoints. So ``nonfinite_stop`` saves in a row end the run, as so many minibatches do.
        """
        self._tell_refusal(error)
        self._refused += 1
        detectors = self._settings.detectors
        if detectors.nonfinite == "rollback":
            self._roll_back("nonfinite")
        elif detectors.nonfinite == "stop":
            raise DivergedError(f"nonfinite: {error} (detectors.nonfinite = 'stop')")
        elif self._refused >= detectors.nonfinite_stop:
            raise DivergedError(f"{error}: {self._refused} checkpoints in a row were not written")

    def _tell_refusal(self, error: NotFiniteError) -> None:
        if self._refused == 0:
            step = f"at step {self._learner.step:,}"
            self._alert("checkpoint_failed", "error", f"no checkpoint {step}: {error}")
        self._settle_savers(error)

    def _save(self, state: State) -> None:
        self._beat("save")
        self._save_due = time.monotonic() + self._settings.run.checkpoint_seconds
        learner = self._learner
        whole = learner.state() | {
            "elapsed_seconds": self.elapsed,
            "rollbacks": self._rollbacks,
            "good": self._good.state(),
        }
        path = save_checkpoint(
            self._plan.run,
            learner.step,
            learner.tensors(),
            whole,
            partial(collect_parts, self._ranks),
        )
        self._saved_step, self._refused = learner.step, 0
        self._good.note(learner.step, whole)
        self._status("checkpoint", state, str(path))
        self._settle_savers(path)

    def _settle_savers(self, answer: Path | OSError | NotFiniteError) -> None:
        deliver((command.finished, answer) for command in self._savers)
        self._savers = []

    # ------------------------------------------------------------------ reactions
    def _react(self, report: Report) -> None:
        """Do what the settings say about the troubles that have just begun."""
        reactions = {alert.reaction: alert for alert in report.alerts}
        if "stop" in reactions:
            alert = reactions["stop"]
            raise DivergedError(f"{alert.name}: {alert.message} (detectors.{alert.name} = 'stop')")
        if "rollback" in reactions:
            self._roll_back(reactions["rollback"].name)

    def _roll_back(self, name: str) -> None:
        self._beat("rollback")
        allowed = self._settings.detectors.rollbacks
        if self._rollbacks == allowed:
            raise DivergedError(f"{name}: came back after {allowed} rollbacks")
        good, refused = self._good.find(name)
        for error in refused:
            self._alert("rollback", "warning", f"refused: {error}")
        if good is None:
            raise DivergedError(f"{name}: no checkpoint is left at which nothing was wrong")
        self._ranks.tell("rollback", str(good.path))
        self._learner.roll_back(good.tensors, good.step)
        self._rollbacks += 1
        self._alert("rollback", "warning", f"{name}: back to the weights of step {good.step:,}")

    # ------------------------------------------------------------------ events
    def _publish(self, report: Report) -> None:
        self._step = report.step
        before, self._marks = (
            self._marks,
            (report.step, self._share.training, self._share.evaluation),
        )
        steps, training, evaluation = (
            new - old for new, old in zip(self._marks, before, strict=True)
        )
        values = report.values | {
            "speed/steps_per_second": steps / (training + evaluation),
            "speed/share_evaluation": evaluation / (training + evaluation),
        }
        with self._telemetry("memory"):
            values |= _memory(self._settings.device)
        event = self._event
        alerts = (
            event(Alert, name=a.name, level=a.level, message=a.message) for a in report.alerts
        )
        games = (
            event(
                Game,
                id=game.number,
                result=game.result,
                reason=game.reason,
                plies=game.plies,
                record=game.record,
            )
            for game in report.games
        )
        iteration = event(Iteration, iteration=report.iteration, values=values)
        self._outbox.emit(iteration, *alerts, *games)

    def _show_board(self) -> None:
        now = time.monotonic()
        if now < self._board_due:
            return
        with self._telemetry("board"):
            if board := self._learner.board():
                self._board_due = now + BOARD_SECONDS
                self._emit(Board, **board)

    @contextmanager
    def _telemetry(self, what: str) -> Iterator[None]:
        """Within the block an error is told, the first time, and training goes on without."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is must not end a run)
            if what not in self._blind:
                self._blind.add(what)
                text = f"{what} is not shown: {type(error).__name__}: {error}"
                self._alert("telemetry", "warning", text)

    def _alert(self, name: str, level: str, message: str) -> None:
        self._emit(Alert, name=name, level=level, message=message)

    def _status(self, kind: Any, state: State, message: str = "") -> None:
        self._state = state
        self._emit(Status, kind=kind, state=state, message=message)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self._outbox.emit(self._event(kind, **fields))

    def _event(self, kind: type[Event], /, **fields: Any) -> Event:
        return kind(run=self._plan.run.id, step=self._step, time=time.time(), **fields)

    def _beat(self, phase: Phase) -> None:
        self.beat = (phase, time.monotonic())


def failure(error: BaseException, run: str, step: int) -> tuple[Failed, Outcome]:
    """What to tell of an exception. Its frames are cleared: they hold tensors."""
    error = unwrap(error)
    name, text = type(error).__name__, str(error)
    details = "".join(traceback.format_exception(error))
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    failed = Failed(
        run=run, step=step, time=time.time(), message=text, type=name, traceback=details
    )
    return failed, Outcome("failed", f"{name}: {text}" if text else name, details)


def _memory(device: str) -> dict[str, float]:
    """What the process and the device hold. Raises OSError when no more files can be opened."""
    on_device = torch.cuda.memory_allocated(device) if device.startswith("cuda") else 0
    return {
        "system/rss_bytes": float(psutil.Process().memory_info().rss),
        "system/heap_bytes": float(heap_bytes()),
        "system/device_bytes": float(on_device),
    }


def _chosen(settings: Settings) -> str:
    """What was chosen for the machine, for a person."""
    compute = settings.compute
    threads = f"{compute.threads} thread{'s' * (compute.threads != 1)}"
    return f"on {settings.device}, {compute.dtype}, {threads}"
