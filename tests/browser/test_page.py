"""The page in a real browser."""

import re

import pytest
from browser_service import Service, Watched, weak_texts
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NARROW = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DARK = {"color_scheme": "dark"}
live_and_watched = pytest.mark.parametrize("service", ["live", "watch"], indirect=True)
"""Run a test also on the page of ``keisei watch``."""


def grows(page: Page, id: str) -> int:
    """Wait until the number in an element is larger; return it."""
    reading = page.locator(f"#{id}")
    expect(reading).to_have_text(re.compile(r"\d"))
    before = reading.text_content() or ""
    expect(reading).not_to_have_text(before)
    after = number(reading.text_content())
    assert after > number(before)
    return after


def number(text: str | None) -> int:
    """Parse a number as the page writes it."""
    return int((text or "").replace(",", ""))


def drawn(page: Page, figure: str) -> int:
    """Return how many pixels of a chart are not background."""
    count: int = page.evaluate(
        """(figure) => {
          const canvas = document.querySelector(`#${figure} canvas`);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let painted = 0;
          for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
          return painted;
        }""",
        figure,
    )
    return count


@live_and_watched
def test_the_page_shows_the_run_as_it_trains(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#state")).to_have_text("Training")
    expect(page.locator("#run")).to_have_text("20240229-120000-fake")
    grows(page, "step")
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"^\d+:\d\d$"))
    for figure in ("chart-ends", "chart-learning", "chart-speed"):
        assert drawn(page, figure) > 500
        expect(page.locator(f"#{figure} .key b").first).to_have_text(re.compile(r"\d"))
        expect(page.locator(f"#{figure} .key").first).to_have_attribute(
            "title", re.compile(r"\w+\.$")
        )
    seen = page.locator("#board svg").get_attribute("aria-label") or ""
    assert "to move" in seen
    expect(page.locator("#board svg")).not_to_have_attribute("aria-label", seen)
    expect(page.locator("#board .moved")).to_have_count(1)
    expect(page.locator("#top li")).to_have_count(5)
    expect(page.locator("#turn")).to_have_text(re.compile("(Sente|Gote) to move"))
    expect(page.locator("#last")).to_have_text(re.compile(r"Last move \S{4,5}, [a-z ]+$"))


@live_and_watched
def test_the_page_says_that_kernels_compile(service: Service, watched: Watched) -> None:
    service.start(compile_seconds=4, history=0)
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#state")).to_have_text(re.compile("^Compiling kernels: .+"))
    expect(page.locator("#board .koma")).to_have_count(40)
    expect(page.locator("#state")).to_have_text("Training")
    grows(page, "step")


def test_the_buttons_pause_resume_and_save(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    assert service.status()["state"] == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state")).to_have_text("Training")
    grows(page, "step")
    page.get_by_role("button", name="Checkpoint").click()
    expect(page.locator("#notice")).to_have_text(re.compile("^Checkpoint saved at step"))


def test_an_evaluation_is_started_and_its_result_shown(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    page.get_by_role("spinbutton", name="Games").fill("8")
    page.get_by_role("button", name="Play material").click()
    result = page.locator("#results li")
    expect(result).to_contain_text("8 games against material")
    expect(result).to_contain_text(re.compile(r"scored \d+%\s*\d+% to \d+%"))
    expect(result).to_contain_text("5 won, 3 lost, 0 drawn, 0 cut off")
    page.reload()
    expect(page.locator("#results li")).to_contain_text("scored")
    page.get_by_role("spinbutton", name="Games").fill("400")
    page.get_by_role("button", name="Play random").click()
    page.get_by_role("button", name="Cancel the games against random").click()
    expect(page.locator("#results li").first).to_contain_text("cancelled")


def test_a_queued_evaluation_can_be_cancelled(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    waits = {"id": "e1", "state": "queued", "opponent": "random", "games": 8, "progress": 0.0}
    page.route("**/api/eval", lambda route: route.fulfill(json={"evaluations": [waits]}))
    cancelled = waits | {"state": "cancelled"}
    page.route("**/api/eval/e1", lambda route: route.fulfill(json=cancelled))
    page.goto(service.url)
    expect(page.locator("#results li")).to_contain_text("waiting")
    page.get_by_role("button", name="Cancel the games against random").click()
    expect(page.locator("#results li")).to_contain_text("cancelled")


def match(opponent: str, **more: object) -> dict[str, object]:
    """Return one match of an evaluation's result."""
    counts = {"games": 8, "wins": 5, "losses": 2, "draws": 1, "capped": 0, "by_reason": {}}
    return {"agent": "run@100", "opponent": opponent, **counts, **more}


def listed(page: Page, *evaluations: dict[str, object]) -> None:
    """Make the service list these evaluations, the newest first."""
    blank = {"games": 8, "opponent": "random", "progress": 0.0, "score": None, "interval": None}
    found = [
        blank | {"id": f"e{number}", "result": None, "message": ""} | one
        for number, one in enumerate(evaluations)
    ]
    page.route("**/api/eval", lambda route: route.fulfill(json={"evaluations": found}))


@live_and_watched
def test_an_evaluation_of_several_matches_shows_each(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    empty = {"agent": "run@100", "opponent": "gps", "error": "the engine is gone"}
    matches = [match("random"), match("material", wins=0, losses=7), empty]
    result = {"agent": "run@100", "games": 16, "score": 0.4, "matches": matches}
    listed(page, {"state": "done", "score": 0.4, "interval": [0.3, 0.5], "result": result})
    page.goto(service.url)
    told = page.locator("#results li .how")
    expect(told).to_have_text(
        [
            "run@100 against random: 5 won, 2 lost, 1 drawn, 0 cut off",
            "run@100 against material: 0 won, 7 lost, 1 drawn, 0 cut off",
            "run@100 against gps: failed: the engine is gone",
        ]
    )
    expect(page.locator("body")).not_to_contain_text("undefined")


@live_and_watched
def test_evaluations_that_never_began_are_folded_away(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    never = [{"state": state} for state in ("cancelled", "failed", "interrupted") * 5]
    played = {"score": 0.5, "progress": 0.5, "result": match("random")}
    listed(page, *never, {"state": "done", **played}, {"state": "cancelled", **played})
    page.goto(service.url)
    expect(page.locator("#results li")).to_have_count(2)
    expect(page.locator("#unbegun li")).to_have_count(12)
    expect(page.locator("#unbegun li").first).to_be_hidden()
    page.locator("#unbegun summary").click()
    expect(page.locator("#unbegun li").first).to_contain_text("cancelled")


def test_the_training_time_advances_only_while_the_run_trains(
    service: Service, watched: Watched
) -> None:
    service.start()
    page = watched.page
    told = service.status() | {"elapsed": 7201.0}
    page.route("**/api/status", lambda route: route.fulfill(json=told))
    page.goto(service.url)
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"^2:00:0[2-9]$"))
    service.post("api/control/pause")
    expect(page.locator("#state")).to_have_text("Paused")
    page.wait_for_timeout(600)
    held = page.locator("#elapsed").text_content() or ""
    page.wait_for_timeout(1500)
    expect(page.locator("#elapsed")).to_have_text(held)


@live_and_watched
def test_lists_are_lists_for_screen_readers(service: Service, watched: Watched) -> None:
    service.start(history=6)
    page = watched.page
    page.goto(service.url)
    expect(page.locator("ol[role]")).to_have_count(0)
    expect(page.get_by_role("log", name="Alerts").get_by_role("listitem")).to_have_count(1)


def test_the_page_shows_why_an_evaluation_was_refused(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#state")).to_have_text("Training")
    watched.cut = True  # the browser logs any 4xx as an error
    page.evaluate("document.getElementById('evaluate').noValidate = true")
    page.get_by_role("spinbutton", name="Games").fill("3")
    page.get_by_role("button", name="Play random").click()
    expect(page.locator("#notice")).to_contain_text("games: an even number, 2 or more")


@live_and_watched
def test_alerts_are_listed_and_kept_over_a_reload(service: Service, watched: Watched) -> None:
    service.start(history=6)
    page = watched.page
    page.goto(service.url)
    expect(page.locator("#alerts")).to_contain_text("first mover bias")
    page.reload()
    expect(page.locator("#alerts li")).to_have_count(1)


def test_the_page_reconnects_after_a_lost_connection(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    grows(page, "step")
    page.get_by_role("button", name="Play random").click()
    expect(page.locator("#results li")).to_have_count(1)
    watched.cut = True
    service.kill()
    expect(page.locator("#state")).to_have_text("Reconnecting")
    expect(page.locator("#notice")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()
    service.start(history=200)
    expect(page.locator("#state")).to_have_text("Training", timeout=20_000)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#results li")).to_have_count(0)  # the new one knows of none
    expect(page.locator("#evaluation-empty")).to_be_visible()
    assert grows(page, "iteration") > 200


def test_the_page_shows_that_the_run_was_stopped(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    grows(page, "step")
    watched.cut = True
    service.post("api/control/stop")
    expect(page.locator("#state")).to_have_text("Stopped")
    assert service.process
    assert service.process.wait(5) == 0


@pytest.mark.parametrize("watched", [NARROW, NARROW | DARK], indirect=True)
def test_a_phone_scrolls_in_one_direction(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    grows(page, "step")
    page.get_by_role("button", name="Play random").click()
    expect(page.locator("#results li")).to_contain_text("won")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("watched", [{}, DARK], indirect=True)
def test_all_text_has_enough_contrast(service: Service, watched: Watched) -> None:
    """Contrast of at least 4.5 to 1 (WCAG AA) for every text outside the drawings."""
    service.start(history=8)
    page = watched.page
    page.goto(service.url)
    grows(page, "step")
    page.get_by_role("button", name="Play random").click()
    expect(page.locator("#results li")).to_contain_text("won")
    assert weak_texts(page) == []


@live_and_watched
def test_charts_can_be_read_by_keyboard(service: Service, watched: Watched) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    grows(page, "step")
    page.locator("#chart-speed canvas").focus()
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#chart-speed .at")).to_have_text(re.compile("^step "))
    expect(page.locator("#chart-ends .at")).to_have_text(re.compile("^step "))
    page.keyboard.press("Escape")
    expect(page.locator("#chart-speed .at")).to_have_text("")
    label = page.locator("#chart-speed canvas").get_attribute("aria-label") or ""
    assert re.fullmatch(r"Speed: steps per second [\d,]+", label)
