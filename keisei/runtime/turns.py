"""Whose turn it is on the device, and how long an iteration still takes."""

SAVED_SECONDS = 0.25
"""Evaluation time that may be earned in advance; more would stop training when a match begins."""


class Share:
    """Bounds the device time that evaluation takes from training.

    A second of evaluation must be earned by ``(1 - share) / share`` seconds of training. Time in
    which training wants no turn is free: ask ``evaluation_due`` only while it wants one.
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
        """Whether evaluation may take the next turn from training."""
        return self.share > 0 and self._debt <= 0

    def trained(self, seconds: float) -> None:
        """A training turn took so long."""
        self.training += seconds
        earned = seconds * self.share / (1 - self.share) if self.share < 1 else float("inf")
        self._debt = max(-SAVED_SECONDS, self._debt - earned)

    def evaluated(self, seconds: float) -> None:
        """An evaluation turn that training wanted took so long."""
        self.evaluation += seconds
        self._debt += seconds


class Pace:
    """Estimates what is left of the iteration in progress, from the ones before."""

    def __init__(self, typical: float = 0.0) -> None:
        """``typical``: seconds of training in an iteration; 0 if none has ended yet."""
        self._typical = typical
        self._spent = 0.0
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """A training turn took so long."""
        self._spent += seconds
        self._longest = max(self._longest, seconds)

    def done(self) -> None:
        """The iteration ended."""
        new = self._spent
        self._typical = 0.7 * self._typical + 0.3 * new if self._typical else new
        self._spent = self._longest = 0.0

    def left(self) -> float:
        """Seconds of training still needed: those of one more turn at least.

        A run's first iteration is not known to need more.
        """
        return max(self._longest, self._typical - self._spent)
