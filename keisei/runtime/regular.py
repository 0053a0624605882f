"""The evaluations that a run starts by itself: which players meet, and when."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from keisei.config import Settings
from keisei.errors import InboxFull, NotRunning
from keisei.evaluation.network_options import split_options
from keisei.evaluation.spec import BEST, CURRENT, ENGINE, LOCAL, EvaluationSpec, rules_in
from keisei.hint import did_you_mean
from keisei.resources import SHIPPED
from keisei.runtime.evaluation_records import EvaluationRecord
from keisei.runtime.evaluations import Evaluations


class RegularEvaluations:
    """Starts the run's regular evaluations when they are due. Event loop only."""

    def __init__(
        self,
        settings: Settings,
        evaluations: Evaluations,
        step: int,
        unfinished: Sequence[EvaluationRecord] = (),
    ) -> None:
        """``step``: the step at which training begins. ``unfinished``: see ``Evaluations``."""
        self._settings = settings
        self._evaluations = evaluations
        self._step = step
        self._since = time.monotonic()
        self._playing = list(unfinished)

    def reached(self, step: int) -> None:
        """Start the regular evaluations if they are due at ``step``, which training has reached.

        No evaluation is started while an earlier regular evaluation is in progress.
        """
        wanted, before, self._step = self._settings.evaluation, self._step, step
        due = wanted.every_steps and step // wanted.every_steps > before // wanted.every_steps
        if wanted.every_minutes and time.monotonic() - self._since >= 60 * wanted.every_minutes:
            self._since, due = time.monotonic(), True
        if due and all(record.done.is_set() for record in self._playing):
            self._evaluations.start_soon(self._start)

    async def _start(self) -> None:
        specs = [regular_spec(self._settings)]
        if self._settings.evaluation.promotion_games:
            specs.append(promotion_spec(self._settings))
        self._playing = []
        with suppress(InboxFull, NotRunning):  # too many evaluations wait, or the run has ended
            for spec in specs:
                self._playing.append(await self._evaluations.start(spec))


def regular_spec(settings: Settings) -> EvaluationSpec:
    """Return the spec of the regular evaluation. Raises ValueError for a wrong setting."""
    wanted = settings.evaluation
    try:
        return EvaluationSpec(
            agents=wanted.agents,
            opponents=tuple(wanted.engines.get(name, name) for name in wanted.opponents),
            strategy=wanted.strategy,
            concurrency=wanted.concurrency,
            **rules_in(settings),
        )
    except ValueError as error:
        raise ValueError(f"evaluation.{error}") from None


def promotion_spec(settings: Settings) -> EvaluationSpec:
    """Return the spec of the sequential test that decides whether to promote ``current``."""
    wanted = settings.evaluation
    return EvaluationSpec(
        opponents=(BEST,),
        sprt=(0.0, wanted.promotion_elo),
        promote=True,
        **rules_in(settings) | {"games": wanted.promotion_games},
    )


def check_players(settings: Settings) -> None:
    """Raise ValueError if a player of the regular evaluations does not exist."""
    for text in settings.evaluation.agents:
        if split_options(text)[0] != CURRENT:
            raise ValueError(f"evaluation.agents: {text}: only current, with or without options")
    known = (*LOCAL, SHIPPED, CURRENT, BEST, *settings.evaluation.engines)
    for player in settings.evaluation.opponents:
        text = split_options(player)[0]
        if text not in known and not text.startswith(ENGINE) and not Path(text).exists():
            hint = did_you_mean(text, known)
            raise ValueError(f"evaluation.opponents: {text}: no such file or folder{hint}")
