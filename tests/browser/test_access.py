"""Access in a real browser: a server on all addresses, another site, a public board."""

import contextlib
import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import anyio
import anyio.from_thread
import pytest
from playwright.sync_api import Browser, expect

from keisei.config import Server, Settings
from keisei.server import create_app
from keisei.server.hosts import urls
from keisei.server.serve import bind, run_server
from keisei.server.token import open_token
from keisei.testing import FakeRun

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@contextlib.contextmanager
def serving(paused: list[int] | None = None, **server: Any) -> Iterator[str]:
    """Serve a fake run on all addresses, in a thread; yield an address beyond loopback.

    The statuses of all answers to requests for a pause are added to ``paused``.
    """
    settings = Settings(server=Server(host="0.0.0.0", **server))

    async def serve(sock: Any, stop: anyio.Event) -> None:
        async with FakeRun(settings, history=5, compile_seconds=0) as run:
            app = create_app(run)

            async def watched(scope: Any, receive: Any, send: Any) -> None:
                async def watch(message: Any) -> None:
                    if "status" in message and "pause" in scope["path"] and paused is not None:
                        paused.append(message["status"])
                    await send(message)

                await app(scope, receive, watch)

            await run_server(watched, sock, stop)

    with bind("0.0.0.0", 0) as sock, anyio.from_thread.start_blocking_portal() as portal:
        stop = portal.call(anyio.Event)
        served = portal.start_task_soon(serve, sock, stop)
        yield urls(sock)[0]
        portal.call(stop.set)
        served.result(10)


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    """The name of a file with a token."""
    file = str(tmp_path / "token")
    open_token(file)
    return file


def test_a_link_pasted_above_the_sign_in_page_signs_in(browser: Browser, token_file: str) -> None:
    token = open_token(token_file).token.get_secret_value()
    with serving(token_file=token_file) as url:
        page = browser.new_context().new_page()
        page.goto(url)
        expect(page.get_by_label("Access token")).to_be_visible()
        for _ in range(2):  # the second time, the browser is signed in
            page.goto(f"{url}#token={token}")
            expect(page.locator("#state")).to_have_text("Training", timeout=15_000)
            assert page.evaluate("location.href") == url


def test_a_page_is_signed_in_by_its_link_and_signed_out_for_good(
    browser: Browser, token_file: str
) -> None:
    token = open_token(token_file).token.get_secret_value()
    asked: list[str] = []
    with serving(token_file=token_file) as url:
        context = browser.new_context()
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}#token={token}")
        expect(page.locator("#state")).to_have_text("Training")
        assert page.evaluate("location.href") == url
        assert page.evaluate("document.cookie") == ""
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#state")).to_have_text("Paused")
        other = context.new_page()
        other.goto(url)
        expect(other.locator("#state")).to_have_text("Paused")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Access token")).to_be_visible()
        expect(other.get_by_label("Access token")).to_be_visible()
        assert context.cookies() == []
        context.add_cookies([cookie])
        page.goto(url)
        page.get_by_label("Access token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the server's access token.")
        page.get_by_label("Access token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#state")).to_have_text("Paused")
        context.close()
    assert asked
    assert not any(token in one.partition("#")[0] for one in asked)


def test_a_public_board_shows_no_buttons(browser: Browser) -> None:
    with serving(read_only=True) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("#state")).to_have_text("Training")
        expect(page.locator("body")).to_have_class("read-only")
        for name in ("Pause", "Checkpoint", "Play random", "Sign out"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        page.goto(f"{url}#/play")
        expect(page.locator("#play-off")).to_contain_text("This server is read-only")
        expect(page.get_by_role("button", name="Start the game")).to_have_count(0)
        page.close()


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[str]:
    """Another web site on this machine. Its pages share the cookies of other ports."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<title>other</title>", "utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            """Write no log."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f":{site.server_port}/"
        site.shutdown()
        thread.join()


ATTACK = """async (url) => {
  const headers = { "Content-Type": "text/plain" };
  const post = (options) => fetch(url, { method: "POST", credentials: "include", ...options })
    .then((answer) => answer.type, () => "failed");
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: url, target: "frame" });
  const frame = document.createElement("iframe");
  const opaque = document.createElement("iframe");
  const script = `fetch("${url}", { method: "POST", mode: "no-cors", credentials: "include" })`;
  Object.assign(opaque, { sandbox: "allow-scripts", srcdoc: `<script>${script}</` + "script>" });
  frame.name = "frame";
  document.body.append(form, frame, opaque);
  form.submit();
  const found = [await post({ mode: "no-cors", headers, body: "{}" }), await post({ mode: "no-cors" })];
  found.push(await post({}));
  await new Promise((resolve) => setTimeout(resolve, 500));
  return found;
}"""


@pytest.mark.parametrize("kind", ["signed in", "no token"])
def test_a_page_of_another_site_cannot_pause_the_run(
    browser: Browser, token_file: str, other_site: str, kind: str
) -> None:
    token = open_token(token_file).token.get_secret_value()
    answers: list[int] = []
    with serving(answers, token_file=token_file if kind == "signed in" else "") as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}#token={token}")
        expect(page.locator("#state")).to_have_text("Training")
        site = context.new_page()
        site.goto(re.sub(r":\d+/$", other_site, url))
        assert "basic" not in site.evaluate(ATTACK, f"{url}api/control/pause")
        # A form, a sandboxed frame, and three forms of fetch. A page may not even ask for a
        # request that needs a preflight.
        assert answers == [403] * 5
        headers = {"Authorization": f"Bearer {token}"}
        with urlopen(Request(f"{url}api/status", headers=headers), timeout=10) as answer:
            assert b'"state": "running"' in answer.read()
        context.close()
