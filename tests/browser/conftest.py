"""A fake run in its own process, and a page in Chromium that must log no errors."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_service import Service, Watched, WatchService
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(
    scope="module"
)  # not "session": Playwright's event loop runs until the fixture ends
def browser() -> Iterator[Browser]:
    """Chromium, shared by the tests of one file."""
    if not CHROMIUM.exists():
        pytest.skip(
            f"no {CHROMIUM}: `tools/test --system`, or apt-get install chromium fonts-noto-cjk"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service that is not started yet: a live run, or a watched one as the parameter says."""
    service = WatchService(tmp_path) if getattr(request, "param", "") == "watch" else Service()
    yield service
    service.kill()


@pytest.fixture
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A page 1440 px wide, or as the test's parameter says. Fails on any error in its console.

    A violation of the content security policy is an error in the console, too.
    """
    options = {"viewport": {"width": 1440, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    context.set_default_timeout(15_000)
    watched = Watched(context)
    yield watched
    with contextlib.suppress(Exception):
        context.close()
    assert watched.errors == []
