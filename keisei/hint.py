"""What somebody may have meant who wrote a name that is not known."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``, did you mean gamma?``, or nothing where no known name is near."""
    near = difflib.get_close_matches(name[:100], known, 1)  # a long one would take milliseconds
    return f", did you mean {near[0]}?" if near else ""
