"""The clients of ``keisei bench loop``."""

import socket

import pytest

from keisei.cli.bench import clients


def test_a_client_that_is_refused_or_cut_fails_the_benchmark() -> None:
    server, client = socket.socketpair()
    with server, client:
        server.sendall(b"HTTP/1.1 200 OK\r\n")
        clients._check_answer(client)
        assert clients._read(client) == 17
        server.sendall(b"HTTP/1.1 503 Service Unavailable\r\n")
        with pytest.raises(RuntimeError, match=r"answered b'HTTP/1\.1 503"):
            clients._check_answer(client)
        assert clients._read(client) == 34
        server.close()
        with pytest.raises(RuntimeError, match="the server closed a stream"):
            clients._read(client)
