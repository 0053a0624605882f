"""Requests from the event loop to the device thread, and the replies to them."""

import asyncio
import time

import anyio
import pytest
from anyio import from_thread, to_thread

from keisei.errors import InboxFull, NotRunning
from keisei.play.mailbox import INBOX, INFERENCE, Command, Mailbox, MoveRequest, Reply, deliver
from keisei.shogi import Position

pytestmark = pytest.mark.anyio


async def test_a_full_queue_of_commands_refuses_more_until_it_is_read() -> None:
    mailbox = Mailbox()
    for _ in range(INBOX):
        mailbox.send(Command())
    with pytest.raises(InboxFull, match="8 requests"):
        mailbox.send(Command())
    mailbox.send(MoveRequest(Position(), greedy=True))  # another queue
    assert len(mailbox.commands()) == INBOX
    mailbox.send(Command())


async def test_positions_have_a_queue_of_their_own_that_is_read_whole() -> None:
    mailbox = Mailbox()
    for _ in range(INFERENCE):
        mailbox.send(MoveRequest(Position(), greedy=True))
    with pytest.raises(InboxFull):
        mailbox.send(MoveRequest(Position(), greedy=True))
    assert mailbox.has_positions
    assert len(mailbox.positions()) == INFERENCE
    assert not mailbox.has_positions


async def test_requests_that_wait_when_the_thread_ends_are_refused() -> None:
    mailbox = Mailbox()
    command, request = Command(), MoveRequest(Position(), greedy=True)
    mailbox.send(command)
    mailbox.send(request)
    await to_thread.run_sync(mailbox.close)
    with anyio.fail_after(5):
        with pytest.raises(NotRunning):
            await command.finished
        with pytest.raises(NotRunning):
            await request.answer
    with pytest.raises(NotRunning):
        mailbox.send(Command())


async def test_requests_after_stop_are_refused() -> None:
    mailbox = Mailbox()
    mailbox.request_stop()
    with pytest.raises(NotRunning):
        mailbox.send(Command())


async def test_a_command_and_a_stop_wake_the_thread_at_once() -> None:
    mailbox = Mailbox()

    def wait() -> float:
        begin = time.monotonic()
        mailbox.wait(30)
        return time.monotonic() - begin

    for wake in (lambda: mailbox.send(Command()), mailbox.request_stop):
        asyncio.get_running_loop().call_soon(wake)
        assert await to_thread.run_sync(wait) < 10


async def test_cancelling_the_task_that_hosts_the_thread_is_a_stop() -> None:
    mailbox, began = Mailbox(), anyio.Event()

    def work() -> None:
        while not mailbox.stopping():
            from_thread.run_sync(began.set)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, work)
            await began.wait()
            assert not mailbox.stop_requested
            group.cancel_scope.cancel()
    assert mailbox.stop_requested


async def test_many_replies_are_delivered_together_also_after_a_caller_gave_up() -> None:
    replies: list[Reply[int]] = [Reply() for _ in range(100)]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await replies[0]  # gives up; the reply itself must survive
    assert scope.cancelled_caught
    await to_thread.run_sync(lambda: deliver([(reply, i) for i, reply in enumerate(replies)]))
    assert [await reply for reply in replies] == list(range(100))


async def test_a_failed_reply_raises_its_exception() -> None:
    reply: Reply[int] = Reply()
    await to_thread.run_sync(reply.fail, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await reply
