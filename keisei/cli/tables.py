"""Tables, sizes and times as text."""

import time
from collections.abc import Collection, Sequence


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Return rows as aligned columns. ``right``: numbers of the columns that are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def size(count: int | None) -> str:
    """Return a number of bytes as text, such as ``12.3 MB``; ``-`` for None."""
    if count is None:
        return "-"
    number, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def moment(seconds: float | None) -> str:
    """Return a time in seconds since 1970 as local date and time; ``-`` for None."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def count(number: int | None) -> str:
    """Return a number as text, such as ``1,234``; ``-`` for None."""
    return "-" if number is None else f"{number:,}"


def many(number: int, noun: str) -> str:
    """Return the number and the noun, with an ``s`` unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
