"""Draw a curve as one line of block characters."""

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(
    steps: Sequence[int],
    values: Sequence[float],
    *,
    last: int,
    bounds: tuple[float, float],
    width: int,
) -> str:
    """Return the curve as ``width`` characters: a higher block is a larger value.

    Args:
        steps: step of each value, in rising order.
        values: the values, all finite.
        last: step at the right edge; the left edge is step 0.
        bounds: values of the lowest and of the highest block.
        width: number of characters. A character shows the mean of its values. Without values, it
            repeats the character before it, or it is a space outside the curve.
    """
    low, high = bounds
    columns: list[list[float]] = [[] for _ in range(width)]
    for step, value in zip(steps, values, strict=True):
        columns[min(width - 1, step * width // max(1, last))].append(value)
    final = max((at for at, column in enumerate(columns) if column), default=-1)
    drawn = " "
    for column in columns[: final + 1]:
        drawn += _block(sum(column) / len(column), low, high) if column else drawn[-1]
    return drawn[1:].ljust(width)


def _block(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.5
    return _BLOCKS[min(7, int(share * 8))]
