"""Divides device time between training and evaluation; estimates when an iteration ends."""

SAVED_SECONDS = 0.25
"""Maximum number of seconds of evaluation that training can earn in advance.

A new match can use these seconds at once. Training then waits.
"""


class Share:
    """Limits the device time that evaluation takes from training.

    Each second of evaluation must be earned by ``(1 - share) / share`` seconds of training.
    Evaluation is not limited while training wants no turn, so call ``evaluation_due`` only while
    training wants a turn.
    """

    def __init__(self, share: float) -> None:
        """``share``: between 0 and 1. If 0, evaluation runs only while training wants no turn."""
        self.share = share
        self.training = 0.0
        """Seconds spent in training turns."""
        self.evaluation = 0.0
        """Seconds spent in evaluation turns while training wanted the device."""
        self._debt = 0.0

    def evaluation_due(self) -> bool:
        """Return whether evaluation may take the next turn from training."""
        return self.share > 0 and self._debt <= 0

    def trained(self, seconds: float) -> None:
        """Count a training turn that took ``seconds``."""
        self.training += seconds
        earned = seconds * self.share / (1 - self.share) if self.share < 1 else float("inf")
        self._debt = max(-SAVED_SECONDS, self._debt - earned)

    def evaluated(self, seconds: float) -> None:
        """Count an evaluation turn that took ``seconds`` while training wanted the device."""
        self.evaluation += seconds
        self._debt += seconds


class Pace:
    """Estimates, from earlier iterations, the time that the iteration in progress still needs."""

    def __init__(self, typical: float = 0.0) -> None:
        """``typical``: seconds of training in an iteration; 0 if no iteration has ended yet."""
        self._typical = typical
        self._spent = 0.0
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """Add a training turn that took ``seconds`` to the iteration in progress."""
        self._spent += seconds
        self._longest = max(self._longest, seconds)

    def done(self) -> None:
        """Count the iteration in progress as complete."""
        new = self._spent
        self._typical = 0.7 * self._typical + 0.3 * new if self._typical else new
        self._spent = self._longest = 0.0

    def left(self) -> float:
        """Return the seconds of training that the iteration still needs.

        The result is at least the length of the iteration's longest turn so far. If no
        iteration has ended yet, the result is exactly the length of this turn.
        """
        return max(self._longest, self._typical - self._spent)
