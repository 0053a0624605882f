"""The share of device time that evaluations get, and how long an iteration still takes."""

SAVED_SECONDS = 0.25
"""Evaluation time that may be earned in advance; more would stop training when a match begins."""


class Share:
    """Limits the device time that evaluation takes from training.

    Training must earn each second of evaluation by ``(1 - share) / share`` seconds of its own.
    While training wants no turn, evaluation is free: ask ``evaluation_due`` only while training
    wants one.
    """

    def __init__(self, share: float) -> None:
        """``share`` in [0, 1]; with 0 evaluation runs only while training does not."""
        self.share = share
        self.training = 0.0
        """Seconds spent in training turns."""
        self.evaluation = 0.0
        """Seconds spent in evaluation turns that training wanted."""
        self._debt = 0.0

    def evaluation_due(self) -> bool:
        """Return whether evaluation may take the next turn from training."""
        return self.share > 0 and self._debt <= 0

    def trained(self, seconds: float) -> None:
        """Count a training turn."""
        self.training += seconds
        earned = seconds * self.share / (1 - self.share) if self.share < 1 else float("inf")
        self._debt = max(-SAVED_SECONDS, self._debt - earned)

    def evaluated(self, seconds: float) -> None:
        """Count an evaluation turn that training wanted."""
        self.evaluation += seconds
        self._debt += seconds


class Pace:
    """Estimates the time that the iteration in progress still needs, from earlier iterations."""

    def __init__(self, typical: float = 0.0) -> None:
        """``typical``: seconds of training in an iteration; 0 if none has ended yet."""
        self._typical = typical
        self._spent = 0.0
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """Count a training turn of the iteration in progress."""
        self._spent += seconds
        self._longest = max(self._longest, seconds)

    def done(self) -> None:
        """Count the iteration as complete."""
        new = self._spent
        self._typical = 0.7 * self._typical + 0.3 * new if self._typical else new
        self._spent = self._longest = 0.0

    def left(self) -> float:
        """Return the seconds of training that the iteration still needs.

        This is at least the time of its longest turn. In a run's first iteration it is only that.
        """
        return max(self._longest, self._typical - self._spent)
