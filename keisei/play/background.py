"""Runs a task in the background while a block runs."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from keisei.errors import unwrap


@asynccontextmanager
async def in_background(
    task: Callable[[], Coroutine[Any, Any, Any]], end: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run ``task`` while the block runs.

    At the end of the block, call ``end``, or cancel the task if ``end`` is None. Then wait for the
    task. If exactly one error occurs, this error is raised without an exception group.
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
