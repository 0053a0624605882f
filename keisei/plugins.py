"""Find the plugins that installed packages provide by entry points."""

from importlib.metadata import EntryPoint, entry_points

from keisei.hint import did_you_mean


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group, such as ``keisei.sinks``, by name."""
    return {point.name: point for point in entry_points(group=group)}


def no_such_name(subject: str, name: str, known: tuple[str, ...]) -> str:
    """Return an error's text, which says that ``name`` is not one of the ``known`` names.

    The text begins with ``subject``, for example ``plugins.sinks``.
    """
    listed = f"is not one of {', '.join(known)}" if known else "is not installed"
    return f"{subject}: {name!r} {listed}{did_you_mean(name, known)}"
