"""The device thread: runs all code that uses the network, the games or the device."""

import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import torch

from keisei.config import Settings
from keisei.errors import NotRunning, unwrap
from keisei.evaluation.spec import CURRENT
from keisei.events import Failed
from keisei.feed.outbox import Outbox
from keisei.feed.stored import Stored
from keisei.play.mailbox import Command, Mailbox, MoveRequest, PlyRequest, deliver
from keisei.play.networks import Networks
from keisei.play.turns import MatchCommand, Matches, OpenNetwork
from keisei.ppo.detectors import DivergedError
from keisei.ppo.learner import IterationReport, Learner
from keisei.runtime.commands import Pause, Resume, SaveCheckpoint, Show
from keisei.runtime.emitter import Emitter
from keisei.runtime.follower import start_others
from keisei.runtime.learners import begin
from keisei.runtime.memory import Memory
from keisei.runtime.plan import RunPlan
from keisei.runtime.rollback import Rollback
from keisei.runtime.saving import Saver
from keisei.runtime.share import Pace, Share

FINISH_SECONDS = 3.0
"""Seconds after a stop request within which the iteration in progress must end.

An iteration that would probably take longer is abandoned.
"""
Phase = Literal["start", "compile", "iteration", "evaluation", "save", "rollback", "idle", "ended"]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    kind: Literal["finished", "stopped", "failed"]
    error: str = ""
    """Type and message of the exception that ended the run."""
    traceback: str = ""


class Worker:
    """Trains, evaluates and saves. The device thread of a run calls ``main``."""

    def __init__(self, plan: RunPlan, mailbox: Mailbox, outbox: Outbox, stored: Stored) -> None:
        self.beat: tuple[Phase, float] = ("start", time.monotonic())
        """Current phase, and the monotonic time of its last report, for the watchdog."""
        self.elapsed = plan.start.elapsed
        """Seconds of training and evaluation in all processes of the run, without pauses.

        The event loop reads this number.
        """
        self._plan = plan
        self._settings = settings = plan.settings
        self._ranks = plan.ranks
        self._mailbox = mailbox
        self._emitter = emitter = Emitter(plan.run.id, plan.start.step, outbox)
        self._learner: Learner
        self._iteration: Generator[None, None, IterationReport] | None = None
        """Iteration in progress; each ``next()`` call on the generator is one training turn."""
        self._paused = False
        self._finished = False
        self._stop_seen: float | None = None
        self._turn_ended = 0.0
        self._waiting: list[OpenNetwork] = []
        """Commands that wait for the end of the iteration, to get a copy of the weights."""
        allowed = settings.detectors.rollbacks
        self._rollback = Rollback(plan.run, allowed, plan.ranks, emitter)
        self._saver = Saver(plan.run, settings, plan.ranks, self._rollback, emitter, stored)
        self._memory = Memory(plan.ranks, emitter)
        self._share = Share(settings.evaluation.share)
        self._pace = Pace()
        self._matches = Matches(
            Networks(
                plan.run.id,
                settings.env,
                settings.device,
                emitter.alert,
                memory_mib=settings.evaluation.memory_mib,
                batch=settings.evaluation.batch,
            )
        )
        # This number is read on the event loop. In the device thread, torch might return the number
        # that another run has set.
        self._host_threads = torch.get_num_threads()

    def main(self) -> RunOutcome:
        """Train until the run ends, and return how the run ended. Never raises."""
        try:
            outcome = self._live()
            self._ranks.send_order("end")
        except BaseException as error:  # noqa: BLE001 (end of the thread: report every error)
            return self._fail(error)
        else:
            return outcome
        finally:
            # The number is restored, because anyio may later use this thread for work of the host
            # program.
            torch.set_num_threads(self._host_threads)
            self._mailbox.close()
            self._saver.close()
            refused = NotRunning("the run ended before this command was done")
            deliver((command.finished, refused) for command in self._waiting)
            self._beat("ended")

    # ------------------------------------------------------------------ life
    def _live(self) -> RunOutcome:
        self._emitter.status("started", "starting")
        if self._mailbox.stopping():
            self._emitter.status("stopped", "stopped")
            return RunOutcome("stopped")
        self._emitter.status("compiling", "compiling")
        try:
            self._start()
            if not self._mailbox.stopping():
                self._emitter.status("running", "running", _chosen(self._settings))
                self._take_turns()
            return self._end()
        finally:
            self._matches.close()
            if hasattr(self, "_learner"):
                self._learner.env.close()
                del self._learner

    def _start(self) -> None:
        self._beat("compile")
        if self._settings.compute.threads:
            # OpenMP keeps a separate number of threads for each calling thread, so the device
            # thread must set this number itself. Threads that start later get the same number.
            torch.set_num_threads(self._settings.compute.threads)
        plan = self._plan
        start_others(self._ranks, self._settings, plan.resumed, plan.init)
        self._learner = plan.build(self._settings)
        checkpoint = begin(self._learner, plan.resumed, plan.init)
        for rank, failure in enumerate(self._ranks.gather(self._learner.compile_failure)):
            if failure:
                who = f"rank {rank} " if self._ranks.size > 1 else ""
                self._emitter.alert("compile", "warning", f"{who}runs uncompiled: {failure}")
        if checkpoint:
            self._saver.saved_step = checkpoint.step
            self._rollback.resume(checkpoint)
        self._emitter.start(self._learner.step)
        self._turn_ended = time.monotonic()

    def _take_turns(self) -> None:
        while True:
            self._obey()
            stopping = self._mailbox.stopping()
            if self._iteration is None:
                self._between_iterations(stopping=stopping)
                if stopping or (self._finished and not self._plan.keep_serving):
                    return
            elif stopping and not self._worth_finishing():
                self._iteration.close()
                return
            self._turn(stopping=stopping)

    def _end(self) -> RunOutcome:
        if self._finished:
            return RunOutcome("finished")
        message = ""
        if self._iteration is not None:
            message = "the iteration in progress was abandoned; resume from the last checkpoint"
        elif self._saver.saved_step != self._learner.step > 0:
            message = self._save_last()
        self._emitter.status("stopped", "stopped", message)
        return RunOutcome("stopped")

    def _fail(self, error: BaseException) -> RunOutcome:
        self._iteration = None
        self._ranks.desert()  # otherwise the other ranks could wait forever for this rank
        self._mailbox.close()  # before the event is sent, so that later commands are refused
        failed, outcome = failure(error, self._plan.run.id, self._emitter.step)
        self._emitter.last_words(failed)
        return outcome

    # ------------------------------------------------------------------ turns
    def _turn(self, *, stopping: bool) -> None:
        train = self._wants_training(stopping=stopping)
        evaluate = (self._matches.running or self._mailbox.has_positions) and not stopping
        if evaluate and (not train or self._share.evaluation_due()):
            self._evaluation_turn(wanted_by_training=train)
        elif train:
            self._training_turn()
        else:
            self._beat("idle")
            self._ranks.send_order("idle")
            self._mailbox.wait(0.5)
        now = time.monotonic()
        if not (self._paused or self._finished):
            self.elapsed += now - self._turn_ended
        self._turn_ended = now

    def _evaluation_turn(self, *, wanted_by_training: bool) -> None:
        self._beat("evaluation")
        self._ranks.send_order("idle")
        since = time.monotonic()
        positions = self._mailbox.positions()
        moves = [item for item in positions if isinstance(item, MoveRequest)]
        self._matches.answer_moves(moves, self._settings.env, self._learner.agent)
        self._matches.turn([item for item in positions if isinstance(item, PlyRequest)])
        if wanted_by_training:
            self._share.evaluated(time.monotonic() - since)

    def _training_turn(self) -> None:
        self._beat("iteration")
        self._ranks.send_order("train")
        if self._iteration is None:
            self._iteration = self._learner.iterate()
        since = time.monotonic()
        report: IterationReport | None = None
        try:
            next(self._iteration)
        except StopIteration as end:
            report = end.value
        except (RuntimeError, MemoryError) as error:
            if not self._memory.tries_again(error):
                raise
            self._iteration = None
        spent = time.monotonic() - since
        self._share.trained(spent)
        self._pace.add(spent)
        if report is not None:
            self._iteration = None
            self._memory.enough()
            self._pace.done()
            self._emitter.iteration(report, self._share, self._settings.device)
            self._react(report)
        self._emitter.board(self._learner)

    def _wants_training(self, *, stopping: bool) -> bool:
        if self._finished:
            return False
        if self._iteration is None:
            return not self._paused
        # A pause may begin during an iteration. Then training goes on only if a stop, a save or a
        # copy of the weights waits for the end of the iteration.
        return not self._paused or stopping or self._saver.requested or bool(self._waiting)

    def _worth_finishing(self) -> bool:
        """Estimate whether the iteration ends within ``FINISH_SECONDS`` after the stop request."""
        now = time.monotonic()
        if self._stop_seen is None:
            self._stop_seen = now
        return now - self._stop_seen + self._pace.left() <= FINISH_SECONDS

    def _between_iterations(self, *, stopping: bool) -> None:
        """End training or save a checkpoint, if due; copy weights unless the run is stopping."""
        learner = self._learner
        # The weights that play in an evaluation must be saved. Otherwise a resumed run could not
        # load these weights and continue the evaluation.
        measured = any(command.source == CURRENT for command in self._waiting)
        if not self._finished and self._is_over():
            message = self._save_last()
            self._finished = True
            self._emitter.status("finished", "finished", message)
        elif (
            self._saver.requested
            or self._saver.due(learner.step)
            or (measured and learner.step != self._saver.saved_step)
        ):
            self._beat("save")
            self._saver.save_or_alert(learner, self.elapsed)
        if not stopping:
            waiting, self._waiting = self._waiting, []
            for command in waiting:
                self._matches.obey(command, learner.agent, learner.step)

    def _is_over(self) -> bool:
        run = self._settings.run
        return 0 < run.steps <= self._learner.step or 0 < run.minutes * 60 <= self.elapsed

    def _save_last(self) -> str:
        self._beat("save")
        return self._saver.save_last(self._learner, self.elapsed)

    def _react(self, report: IterationReport) -> None:
        """Stop or roll back if the settings demand this for a problem that has just begun."""
        reactions = {alert.reaction: alert for alert in report.alerts}
        if "stop" in reactions:
            alert = reactions["stop"]
            raise DivergedError(f"{alert.name}: {alert.message} (detectors.{alert.name} = 'stop')")
        if "rollback" in reactions:
            self._beat("rollback")
            self._rollback.roll_back(self._learner, reactions["rollback"].name)

    # ------------------------------------------------------------------ commands
    def _obey(self) -> None:
        for command in self._mailbox.commands():
            if isinstance(command, OpenNetwork) and command.source == CURRENT:
                self._waiting.append(command)
            elif isinstance(command, MatchCommand):
                self._matches.obey(command)
            elif self._finished:
                text = "the run has finished: nothing is left to pause, resume, save or show"
                command.finished.fail(NotRunning(text))
            else:
                self._obey_while_training(command)

    def _obey_while_training(self, command: Command) -> None:
        match command:
            case SaveCheckpoint():
                self._saver.request(command)
            case Pause():
                self._pause(True)
                command.finished.set(None)
            case Resume():
                self._pause(False)
                command.finished.set(None)
            case Show(game=game):
                try:
                    command.finished.set(self._learner.show(game))
                except LookupError as error:
                    command.finished.fail(error)
            case _:
                command.finished.fail(TypeError(f"not a command of a run: {command!r}"))

    def _pause(self, paused: bool) -> None:
        if paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._emitter.status("paused", "paused")
        else:
            self._emitter.status("resumed", "running", _chosen(self._settings))

    def _beat(self, phase: Phase) -> None:
        self.beat = (phase, time.monotonic())


def failure(error: BaseException, run: str, step: int) -> tuple[Failed, RunOutcome]:
    """Return the event and the outcome for an exception.

    Clears the stack frames in the exception's traceback, because variables in the frames keep
    tensors alive.
    """
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
    return failed, RunOutcome("failed", f"{name}: {text}" if text else name, details)


def _chosen(settings: Settings) -> str:
    """Return device, precision and number of threads as text for the user."""
    compute = settings.compute
    threads = f"{compute.threads} thread{'s' * (compute.threads != 1)}"
    return f"on {settings.device}, {compute.dtype}, {threads}"
