"""Suggest the known name that is most similar to a mistyped name."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a text such as ``, did you mean gamma?``; empty if no known name is similar."""
    # Only the first 100 characters are compared: a longer comparison would take milliseconds.
    near = difflib.get_close_matches(name[:100], known, 1)
    return f", did you mean {near[0]}?" if near else ""
