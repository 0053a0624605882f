"""What the loop asks of the device thread."""

import asyncio
import threading
import time

import anyio
import pytest
from anyio import to_thread

from keisei.errors import InboxFull, NotRunning
from keisei.play.mailbox import INBOX, INFERENCE, Command, Mailbox, MoveRequest, Reply, deliver

pytestmark = pytest.mark.anyio


async def test_a_full_inbox_refuses_and_takes_again_when_read() -> None:
    mailbox = Mailbox()
    for _ in range(INBOX):
        mailbox.send(Command())
    with pytest.raises(InboxFull, match="8 requests"):
        mailbox.send(Command())
    mailbox.send(MoveRequest("startpos", greedy=True))  # another queue
    assert len(mailbox.commands()) == INBOX
    mailbox.send(Command())


async def test_questions_have_a_queue_of_their_own_drained_whole() -> None:
    mailbox = Mailbox()
    for _ in range(INFERENCE):
        mailbox.send(MoveRequest("startpos", greedy=True))
    with pytest.raises(InboxFull):
        mailbox.send(MoveRequest("startpos", greedy=True))
    assert mailbox.has_positions
    assert len(mailbox.positions()) == INFERENCE
    assert not mailbox.has_positions


async def test_what_waits_when_the_thread_ends_is_refused_not_forgotten() -> None:
    mailbox = Mailbox()
    command, question = Command(), MoveRequest("startpos", greedy=True)
    mailbox.send(command)
    mailbox.send(question)
    await to_thread.run_sync(mailbox.close)
    with pytest.raises(NotRunning):
        await command.finished
    with pytest.raises(NotRunning):
        await question.answer
    with pytest.raises(NotRunning):
        mailbox.send(Command())


async def test_after_stop_nothing_is_taken() -> None:
    mailbox = Mailbox()
    mailbox.request_stop()
    with pytest.raises(NotRunning):
        mailbox.send(Command())


async def test_the_thread_wakes_at_once_for_a_command_and_for_stop() -> None:
    mailbox = Mailbox()

    def wait() -> float:
        begin = time.monotonic()
        mailbox.wait(5)
        return time.monotonic() - begin

    for wake in (lambda: mailbox.send(Command()), mailbox.request_stop):
        threading.Timer(0.05, asyncio.get_running_loop().call_soon_threadsafe, [wake]).start()
        assert await to_thread.run_sync(wait) < 1


async def test_cancelling_the_host_task_is_a_stop() -> None:
    mailbox = Mailbox()

    def work() -> None:
        while not mailbox.stopping():
            time.sleep(0.005)

    with anyio.fail_after(5), anyio.move_on_after(0.05):
        await to_thread.run_sync(work)
    assert mailbox.stop_requested


async def test_many_replies_need_one_wake_up_and_a_lost_asker_harms_nobody() -> None:
    replies: list[Reply[int]] = [Reply() for _ in range(100)]
    with anyio.move_on_after(0.01):
        await replies[0]  # gives up; the reply itself must survive
    await to_thread.run_sync(lambda: deliver([(reply, i) for i, reply in enumerate(replies)]))
    assert [await reply for reply in replies] == list(range(100))


async def test_replies_carry_exceptions() -> None:
    reply: Reply[int] = Reply()
    await to_thread.run_sync(reply.fail, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await reply
