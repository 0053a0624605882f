"""Pieces of an answer. ``test_connections`` tests the other limits over real sockets."""

import pytest
from starlette.responses import Response
from starlette.types import Message

from keisei.server.limits import PIECE, Pieces

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5])
async def test_the_pieces_of_an_answer_are_small_and_together_the_answer(size: int) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    whole = bytes(number % 251 for number in range(size))
    await Pieces(Response(whole))({"type": "http"}, receive, send)
    start, *pieces = sent
    assert dict(start["headers"])[b"content-length"] == str(size).encode()
    assert b"".join(piece["body"] for piece in pieces) == whole
    assert all(len(piece["body"]) <= PIECE for piece in pieces)
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [
        False
    ]
