"""Tells the device thread which iterations are in the database."""

import threading


class Stored:
    """The newest iteration whose metrics and games are in the database. For any thread."""

    def __init__(self, iteration: int = 0) -> None:
        self._iteration = iteration
        self._changed = threading.Condition()

    def reached(self, iteration: int) -> None:
        """Note that an iteration, and all earlier ones, are in the database."""
        with self._changed:
            self._iteration = iteration
            self._changed.notify_all()

    def wait(self, iteration: int, seconds: float) -> bool:
        """Wait until an iteration is in the database, but not for more than ``seconds``.

        Returns whether the iteration is in the database.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._iteration >= iteration, seconds)
