"""A task that runs beside a block, and whose error the caller gets."""

import anyio
import anyio.lowlevel
import pytest

from keisei.play.background import in_background

pytestmark = pytest.mark.anyio


async def test_the_task_runs_while_the_block_runs_and_is_cancelled_after_it() -> None:
    began, ended = anyio.Event(), anyio.Event()

    async def task() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.fail_after(5):
        async with in_background(task):
            await began.wait()
            assert not ended.is_set()
        assert ended.is_set()


async def test_leaving_the_block_calls_end_and_waits_for_the_task() -> None:
    stop = anyio.Event()
    ended = False

    async def task() -> None:
        nonlocal ended
        await stop.wait()
        await anyio.lowlevel.checkpoint()
        ended = True

    with anyio.fail_after(5):
        async with in_background(task, stop.set):
            assert not stop.is_set()
    assert ended


async def test_an_error_of_the_task_cancels_the_block_and_is_raised_without_a_group() -> None:
    async def task() -> None:
        raise ValueError("task")

    with anyio.fail_after(5), pytest.raises(ValueError, match="task"):
        async with in_background(task):
            await anyio.sleep_forever()


async def test_an_error_of_the_block_ends_the_task_and_is_raised_without_a_group() -> None:
    stop = anyio.Event()
    with anyio.fail_after(5), pytest.raises(KeyError, match="block"):
        async with in_background(stop.wait, stop.set):
            raise KeyError("block")
    assert stop.is_set()


async def test_cancelling_the_block_ends_the_task_too() -> None:
    ended = anyio.Event()

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            async with in_background(task):
                await anyio.lowlevel.checkpoint()
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert ended.is_set()
