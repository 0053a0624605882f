"""A fake run in its own process, and a page that records its errors."""

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page

from keisei.testing.run import RUN


class Service:
    """``python -m keisei.testing`` on a free port; it can be killed and started again."""

    def __init__(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[str] | None = None

    def start(self, compile_seconds: float = 0.0, history: int = 30) -> None:
        """Start the process and wait until it listens."""
        command = [sys.executable, "-m", "keisei.testing", "--port", str(self.port)]
        command += ["--history", str(history), "--compile", str(compile_seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline().strip() == self.url

    def kill(self) -> None:
        """Kill the process, which breaks every connection."""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def post(self, path: str) -> None:
        """Send a command from outside the page."""
        request = urllib.request.Request(f"{self.url}{path}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 202

    def status(self) -> dict[str, object]:
        """Return the answer of ``/api/status``."""
        with urllib.request.urlopen(f"{self.url}api/status", timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
        return found


class WatchService(Service):
    """``keisei watch`` on a free port, and a process that writes the files of a fake run."""

    def __init__(self, root: Path) -> None:
        """``root``: folder for the run."""
        super().__init__()
        self.root = root
        self.run = root / RUN
        self.writer: subprocess.Popen[str] | None = None
        self.watched = self.run
        """What ``keisei watch`` watches: the run, or the folder of runs."""

    def start(self, compile_seconds: float = 0.0, history: int = 30) -> None:
        """Start both processes and wait until they have begun; the page's server is the first."""
        command = [sys.executable, "-m", "keisei", "watch", str(self.watched)]
        command += ["--port", str(self.port), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert json.loads(self.process.stdout.readline()) == {"address": self.url}
        with urllib.request.urlopen(f"{self.url}healthz", timeout=60):
            pass  # the server has loaded everything
        script = Path(__file__).with_name("trained_run.py")
        command = [sys.executable, str(script), str(self.run)]
        command += ["--history", str(history), "--compile", str(compile_seconds)]
        self.writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.writer.stdout
        assert self.writer.stdout.readline() == "started\n"

    def kill_writer(self) -> None:
        """Kill the process that writes the run."""
        if self.writer:
            self.writer.kill()
            self.writer.communicate()
            self.writer = None

    def kill(self) -> None:
        """Kill both processes."""
        self.kill_writer()
        super().kill()


class Watched:
    """A page and its errors."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.cut = False
        """Set by a test that makes requests fail on purpose: then these are no errors."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"raised: {error}"))
        self.page.on("request", lambda request: self._request(request.url))

    def _console(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in {"error", "warning"} and not (self.cut and "Failed to load resource" in text):
            self.errors.append(f"{kind}: {text}")

    def _request(self, url: str) -> None:
        if urlsplit(url).hostname not in {"127.0.0.1", None}:
            self.errors.append(f"asked {url}")


def weak_texts(page: Page) -> list[str]:
    """Return the texts outside the drawings with a contrast below 4.5 to 1 (WCAG AA)."""
    found: list[str] = page.evaluate(
        """() => {
          const parse = (color) => (color.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
          const light = (color) => {
            const [r, g, b] = color.map((v) => v / 255)
              .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = (element) => {
            for (let at = element; at; at = at.parentElement) {
              const color = parse(getComputedStyle(at).backgroundColor);
              if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
            }
            return [255, 255, 255];
          };
          const weak = [];
          for (const element of document.querySelectorAll("body *:not(svg *):not(noscript)")) {
            const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
            if (!own || element.tagName === "CANVAS" || !element.offsetParent) continue;
            const a = light(parse(getComputedStyle(element).color).slice(0, 3));
            const b = light(ground(element));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
          }
          return weak;
        }"""
    )
    return found
