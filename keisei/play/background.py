"""A task that runs for as long as a block does."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from keisei.errors import unwrap


@asynccontextmanager
async def in_background(
    task: Callable[[], Coroutine[Any, Any, Any]], end: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run ``task`` while the block runs. Leaving the block calls ``end``, or else cancels the task.

    The first error, from the task or from the block, is raised as it is, without a group around it.
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
