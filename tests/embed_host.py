"""A program of somebody else's, with two runs in it. Run by test_embed.py."""

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


OURS = ("KEISEI", "NUMBA", "OMP", "GOMP")  # torch sets one of its own when imported


def picture() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
        "logging": [str(root.handlers), root.level, str(logging.getLogger("keisei").handlers)],
        "switch": sys.getswitchinterval(),
        "environment": [name for name in os.environ if name.startswith(OURS)],
        "stderr": [str(sys.stderr), str(sys.stdout)],
    }


def files() -> list[str]:
    """What is open, but for what the interpreter and the libraries keep once loaded."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            links.append(str(link.readlink()))
    return sorted(link for link in links if "/" not in link or str(folder) in link)


pictures = []


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    pictures.append(picture())
    async with Keisei(Settings.load(overrides=tiny)) as one:
        async with Keisei(Settings.load(overrides=tiny)) as two:
            pictures.append(picture())
            app.router.routes += [Mount("/one", create_app(one)), Mount("/two", create_app(two))]
            yield
            pictures.append(picture())
        pictures.append(picture())
    pictures.append(picture())


# Uvicorn raises the signal again when it is done; the host wants to live on.
signal.signal(signal.SIGTERM, lambda number, frame: None)
before, opened = picture(), files()
uvicorn.run(Starlette(lifespan=lifespan), port=port, log_level="warning")
after, left = picture(), files()
gc.freeze()  # else the interpreter's last walk over all that torch made takes seconds when busy
print(
    json.dumps(
        {
            "inside": all(one == pictures[0] for one in pictures),
            "after": after == before,
            "files": [opened, left],
            "threads": [thread.name for thread in threading.enumerate() if not thread.daemon],
        }
    )
)
