"""A service in a process of its own, which tests attack."""

import contextlib
import json
import re
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TINY = [
    "--config=quickstart", "--env.games=16", "--net.blocks=1", "--net.channels=8",
    "--ppo.rollout_plies=16", "--ppo.minibatch=128", "--compute.threads=1",
    "--run.checkpoint_seconds=2",
]  # fmt: skip


class Service:
    """``keisei serve`` in a process with few descriptors."""

    def __init__(self, run: Path, patch: str, descriptors: int) -> None:
        code = f"{patch}\nimport sys\nfrom keisei.cli.main import main\nsys.exit(main())"
        words = [sys.executable, "-c", code, "serve", *TINY, "--port=0", f"--run={run}"]
        self.run, self.errors = run, run.with_name("stderr")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                ["bash", "-c", f'ulimit -n {descriptors}; exec "$@"', "bash", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        found = re.search(r":([0-9]+)/", self.process.stdout.readline())
        assert found
        self.port = int(found[1])

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    @property
    def descriptors(self) -> int:
        """Number of open descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    def speed(self, seconds: float) -> tuple[float, list[float]]:
        """Measure steps per second over some seconds, and the delays of ``/healthz`` in them."""
        begin, since, delays = self.get("/api/status")["step"], time.monotonic(), []
        while time.monotonic() - since < seconds:
            asked = time.monotonic()
            self.get("/healthz")
            delays.append(time.monotonic() - asked)
            time.sleep(0.05)
        step = self.get("/api/status")["step"]
        return (step - begin) / (time.monotonic() - since), delays


@contextlib.contextmanager
def service(run: Path, patch: str = "", descriptors: int = 1024) -> Iterator[Service]:
    """Run the service until its training has begun; end it in order."""
    served = Service(run, patch, descriptors)
    try:
        while served.get("/api/status")["step"] < 5000:
            time.sleep(0.2)
        yield served
        served.process.terminate()
        assert served.process.wait(30) == 0
    finally:
        served.process.kill()
        served.process.communicate()
    assert "Traceback" not in served.errors.read_text()


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Let this process open enough sockets for all clients."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
