"""``python -m keisei.testing``: serve a fake run, for work on the web page."""

import argparse

import anyio

from keisei.server import create_app
from keisei.server.serve import address_of, bind, end_streams_from_hub, run_server
from keisei.testing.run import FakeRun


def main() -> None:
    """Serve a fake run until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m keisei.testing", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8700, help="port; 0: any free port")
    parser.add_argument("--history", type=int, default=0, help="iterations before the start")
    parser.add_argument("--compile", type=float, default=3.0, help="seconds until training starts")
    args = parser.parse_args()
    anyio.run(_serve, args.port, FakeRun(history=args.history, compile_seconds=args.compile))


async def _serve(port: int, run: FakeRun) -> None:
    end_streams_from_hub()
    with bind("127.0.0.1", port) as sock:
        print(address_of(sock), flush=True)  # noqa: T201 (callers wait for the address)
        async with run, anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, create_app(run), sock, run.ended)
            await run.ended.wait()


if __name__ == "__main__":
    main()
