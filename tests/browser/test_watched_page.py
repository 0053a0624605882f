"""The page of ``keisei watch`` in a real browser. ``test_page`` runs many tests on it, too."""

import re

import pytest
from browser_service import Watched, WatchService
from playwright.sync_api import expect

from keisei.testing.run import RUN

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.mark.parametrize("service", ["watch"], indirect=True)
def test_the_page_says_why_nothing_can_be_controlled(
    service: WatchService, watched: Watched
) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#state")).to_have_text("Training")
    expect(page.locator("#watched")).to_contain_text("only reads the run’s files")
    for name in ("Pause", "Checkpoint", "Play random", "Play material"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_the_page_of_a_live_run_does_not_say_so(service: WatchService, watched: Watched) -> None:
    service.start()
    watched.page.goto(service.url)
    expect(watched.page.locator("#state")).to_have_text("Training")
    expect(watched.page.locator("#watched")).to_be_hidden()


@pytest.mark.parametrize("service", ["watch"], indirect=True)
def test_the_page_shows_that_the_run_was_killed(service: WatchService, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#state")).to_have_text("Training")
    service.kill_writer()
    expect(page.locator("#state")).to_have_text(re.compile("^Killed: .*--resume"))
    page.reload()
    expect(page.locator("#state")).to_have_text(re.compile("^Killed: "))


@pytest.mark.parametrize("service", ["watch"], indirect=True)
def test_the_page_of_a_folder_leads_to_the_pages_of_its_runs(
    service: WatchService, watched: Watched
) -> None:
    service.watched = service.root
    (service.root / "damaged").mkdir()
    (service.root / "damaged/run.toml").touch()
    service.start()
    page = watched.page
    page.goto(service.url)
    row = page.get_by_role("row").filter(has_text=RUN)
    expect(row).to_contain_text("running")
    expect(page.get_by_role("row").filter(has_text="damaged")).to_contain_text("run.toml")
    page.get_by_role("link", name=RUN).click()
    expect(page).to_have_url(re.compile(f"/runs/{RUN}/$"))
    expect(page.locator("#state")).to_have_text("Training")
    page.go_back()
    service.kill_writer()
    expect(row).to_contain_text("interrupted")


@pytest.mark.parametrize("service", ["watch"], indirect=True)
def test_a_folder_without_runs_says_so(service: WatchService, watched: Watched) -> None:
    service.watched = service.root / "empty"
    service.watched.mkdir()
    service.start()
    watched.page.goto(service.url)
    expect(watched.page.locator("#runs-empty")).to_have_text("There is no run in this folder yet.")
