"""A task that runs as long as a block does."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from keisei.errors import unwrap


@asynccontextmanager
async def beside(
    task: Callable[[], Coroutine[Any, Any, Any]], end: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run ``task`` beside the block; leaving it calls ``end``, or cancels the task if there is none.

    Errors of either come out as they are, the first one alone.
    """
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(task)
            try:
                yield
            finally:
                (end or group.cancel_scope.cancel)()
    except BaseExceptionGroup as failed:
        raise unwrap(failed) from None
