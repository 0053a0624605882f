"""A host program that embeds two runs. test_embed.py starts it."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from keisei import Keisei, Settings
from keisei.server import create_app

port, folder = int(sys.argv[1]), Path(sys.argv[2])
tiny = {
    "run.root": folder,
    "env.games": 8,
    "env.reset_pool": 16,
    "net.blocks": 1,
    "net.channels": 8,
    "ppo.rollout_plies": 8,
    "ppo.minibatch": 64,
    "compute.dtype": "float32",
}


OURS = ("KEISEI", "NUMBA", "OMP", "GOMP")  # not torch's, which sets a variable at import


def process_state() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
        "logging": [str(root.handlers), root.level, str(logging.getLogger("keisei").handlers)],
        "switch": sys.getswitchinterval(),
        "environment": [name for name in os.environ if name.startswith(OURS)],
        "stderr": [str(sys.stderr), str(sys.stdout)],
        "policy": str(asyncio.get_event_loop_policy()),
    }


def loop_state() -> dict[str, Any]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    return {
        "exceptions": str(loop.get_exception_handler()),
        "factory": str(loop.get_task_factory()),
        "task": task and task.get_name(),
    }


def files() -> list[str]:
    """List the open files, except those that loaded libraries keep open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            links.append(str(link.readlink()))
    return sorted(link for link in links if "/" not in link or str(folder) in link)


states = []
names: list[str] = []
"""Names of the tasks that the two runs have started."""


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    own = asyncio.all_tasks()
    states.append(process_state() | loop_state())
    async with Keisei(Settings.load(overrides=tiny)) as one:
        async with Keisei(Settings.load(overrides=tiny)) as two:
            states.append(process_state() | loop_state())
            names.extend(task.get_name() for task in asyncio.all_tasks() - own)
            app.router.routes += [Mount("/one", create_app(one)), Mount("/two", create_app(two))]
            yield
            states.append(process_state() | loop_state())
        states.append(process_state() | loop_state())
    states.append(process_state() | loop_state())


# Uvicorn raises the signal again at its end; this program must live on to report.
signal.signal(signal.SIGTERM, lambda number, frame: None)
before, opened = process_state(), files()
# uvloop, if it is installed, keeps the pipes of its signal handlers after its end.
uvicorn.run(Starlette(lifespan=lifespan), port=port, log_level="warning", loop="asyncio")
after, left = process_state(), files()
for thread in threading.enumerate():
    if thread.name == "AnyIO worker thread":
        thread.join(5)  # it ends soon after the event loop; one that does not is reported below
gc.freeze()  # else the last garbage collection over torch's objects takes seconds
print(
    json.dumps(
        {
            "inside": all(one == states[0] for one in states),
            "after": after == before,
            "files": [opened, left],
            "tasks": names,
            "threads": [thread.name for thread in threading.enumerate() if not thread.daemon],
        }
    )
)
