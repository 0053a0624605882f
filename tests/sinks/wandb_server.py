"""A small W&B server on loopback: it keeps what the real client sends."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

HISTORY = "wandb-history.jsonl"


@dataclass
class ServedRun:
    """What the server has received about one run."""

    name: str
    project: str
    fields: dict[str, Any] = field(default_factory=dict)
    """Newest values from the client, such as ``displayName``."""
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    """Lines of the streamed files, by their numbers."""
    exit_code: int | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the history, in the order of their lines."""
        return [json.loads(line) for _, line in sorted(self.files.get(HISTORY, {}).items())]

    @property
    def summary(self) -> Any:
        """The newest summary."""
        return json.loads(self.files.get("wandb-summary.json", {}).get(0, "{}"))

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run."""
        config = json.loads(self.fields["config"])
        return {key: item["value"] for key, item in config.items()}

    def bucket(self) -> dict[str, Any]:
        """The run as the client's queries expect it."""
        return {
            "id": f"id-{self.name}",
            "name": self.name,
            "displayName": self.fields.get("displayName"),
            "config": self.fields.get("config") or "{}",
            "sweepName": self.fields.get("sweep"),
            "project": project(self.project),
            "historyLineCount": len(self.rows),
            "eventsLineCount": len(self.files.get("wandb-events.jsonl", {})),
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in self.rows[-1:]]),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(self.summary),
            "wandbConfig": json.dumps({"t": 1}),
        }


def project(name: str) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "entity": {"id": "id-lab", "name": "lab"}}


class WandbServer(ThreadingHTTPServer):
    """The server. ``runs`` are the received runs by their ids."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, ServedRun] = {}
        self.sweep: dict[str, Any] = {}
        """The sweep that was made last."""
        self.commands: list[dict[str, Any]] = []
        """What the agent of a sweep will be told, one command a heartbeat."""

    def answer(self, query: str, given: dict[str, Any]) -> Any:
        """Return the data that answers a GraphQL query; None if the query is unknown."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        match found and found[1]:
            case "Viewer":
                user = {"id": "id-user", "entity": "lab", "username": "user", "email": ""}
                return {"viewer": user | {"flags": "{}", "teams": {"edges": []}}}
            case "RunResumeStatus":
                run = self.runs.get(given["name"])
                return {"model": project(given["project"]) | {"bucket": run and run.bucket()}}
            case "UpsertBucket":
                return {"upsertBucket": self.upsert(given)}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": self.url} for name in given["files"]]
                return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
            case "UpsertSweep":
                self.sweep = yaml.safe_load(given["config"])
                return {"upsertSweep": {"sweep": {"name": "sweep", "project": project("keisei")}}}
            case "SweepWithRuns":
                sweep = {"config": yaml.safe_dump(self.sweep), "runs": {"edges": []}}
                return {"project": {"sweep": sweep | {"name": "sweep", "state": "RUNNING"}}}
            case "CreateAgent":
                return {"createAgent": {"agent": {"id": "agent"}}}
            case "Heartbeat":
                commands = [self.commands.pop(0)] if self.commands else []
                return {"agentHeartbeat": {"commands": json.dumps(commands)}}
        return None

    def upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make or change a run."""
        name = given.get("name") or given["id"].removeprefix("id-")
        new = name not in self.runs
        run = self.runs.setdefault(name, ServedRun(name, given.get("project") or ""))
        run.fields |= {key: value for key, value in given.items() if value is not None}
        return {"bucket": run.bucket(), "inserted": new}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Keep lines of files, and the exit code."""
        run = self.runs[name]
        for file, part in (sent.get("files") or {}).items():
            run.files.setdefault(file, {}).update(enumerate(part["content"], part["offset"]))
        if sent.get("complete"):
            run.exit_code = sent["exitcode"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing if the client was killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one request. Telemetry and uploaded files are ignored."""

    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        answer: dict[str, Any] = {}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/graphql":
            asked = json.loads(body)
            data = self.server.answer(asked["query"], asked.get("variables") or {})
            answer = {"data": data} if data else {"errors": [{"message": "unknown query"}]}
        elif self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Serve in a thread."""
    with WandbServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
