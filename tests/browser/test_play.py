"""The view Play in a real browser: whole games by clicks, by dragging, by touch and by keys."""

import re
from typing import Any
from urllib.parse import quote

import pytest
from browser_service import Service, Watched, weak_texts
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NARROW = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DARK = {"color_scheme": "dark"}
DROP_THEN_PROMOTE = "8k/9/p5NS1/9/9/9/9/9/4K2L1 b P 1"
"""White can only push a pawn; then black's silver mates by promoting."""
SHUFFLE = "8k/9/5N1G1/9/9/9/9/9/4K4 b - 1"
"""White's king can only go to and fro."""
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
HOSTILE = "<img src=x onerror=alert(1)>&lt;b&gt;"


def open_play(service: Service, watched: Watched, **parameters: str) -> Page:
    """Start the service, and open the view with this form filled in."""
    service.start()
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    watched.page.goto(f"{service.url}#/play?{query}")
    expect(watched.page.locator("#state")).to_have_text("Training")
    expect(watched.page.locator("#play-model option")).not_to_have_count(0)  # the form is complete
    return watched.page


def on_the_board(page: Page) -> None:
    """Wait until the board has the focus, so that it gets the next keys."""
    expect(page.locator("#play-board :focus")).to_have_count(1)


def begin(page: Page) -> None:
    """Start the game, and wait for the person's turn."""
    page.get_by_role("button", name="Start the game").click()
    said(page, "Your turn")


def said(page: Page, text: str) -> None:
    """Wait until the view says something. The first answer of a server takes seconds."""
    expect(page.locator("#play-said")).to_contain_text(text, timeout=20_000)


def square(page: Page, name: str) -> Any:
    """The button on a square such as ``7g``."""
    return page.get_by_role("group", name="Squares").get_by_role(
        "button", name=re.compile(f"^{name} ")
    )


def move(page: Page, start: str, to: str) -> None:
    """Click a piece and a square."""
    square(page, start).click()
    square(page, to).click()


def test_a_game_is_won_by_clicks_with_a_drop_and_a_promotion(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched, start=DROP_THEN_PROMOTE)
    begin(page)
    page.get_by_role("button", name="pawn in hand").click()
    expect(page.locator("#play-board .target")).to_have_count(66)  # no mate by a pawn
    square(page, "5e").click()
    expect(page.locator("#play-moves li")).to_have_count(2)
    said(page, "Gote: pawn to 9d. Your turn (sente).")
    move(page, "2c", "2b")
    page.get_by_role("dialog").get_by_role("button", name="Promote to promoted silver").click()
    said(page, "Sente: silver to 2b, promotes. You won by checkmate. Kept as game 1.")
    expect(page.locator("#play-moves li")).to_have_text(
        ["1 ☗５五歩打", "2 ☖９四歩(93)", "3 ☗２二銀成(23)"]
    )
    kept = page.locator("#play-games li")
    expect(kept).to_contain_text("1. ☗ human")
    expect(kept).to_contain_text("sente won, checkmate, 3 moves")
    expect(page.get_by_role("button", name="Take back")).to_be_disabled()
    with page.expect_download() as download:
        page.get_by_role("link", name="Game 1 as KIF").click()
    assert download.value.suggested_filename == "play-0001.kifu"


def test_a_game_is_won_by_keys_alone(service: Service, watched: Watched) -> None:
    page = open_play(service, watched, start=DROP_THEN_PROMOTE)
    page.locator("#play-person").focus()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    said(page, "Your turn")
    on_the_board(page)
    page.keyboard.press("p")
    page.keyboard.press("Enter")  # the focus is on the middle of the board
    said(page, "Gote: pawn to 9d. Your turn")
    for key in ["ArrowRight"] * 3 + ["ArrowUp"] * 2 + ["Enter", "ArrowUp", "Enter"]:
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    on_the_board(page)
    for key in ("ArrowDown", "Enter", "ArrowUp", "Enter", "Enter"):
        page.keyboard.press(key)
    said(page, "You won by checkmate. Kept as game 1.")
    expect(page.locator("#play-games li")).to_contain_text("☗ Anna")


def test_pieces_are_dragged_from_the_board_and_from_the_hand(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched, start=DROP_THEN_PROMOTE)
    begin(page)
    square(page, "2c").drag_to(square(page, "9i"))  # not legal: the piece goes back
    expect(page.locator("#play-moves li")).to_have_count(0)
    expect(page.locator("#play-board .dragged")).to_have_count(0)
    page.get_by_role("button", name="pawn in hand").drag_to(square(page, "5e"))
    said(page, "Gote: pawn to 9d. Your turn")
    square(page, "2c").drag_to(square(page, "2b"))
    page.get_by_role("dialog").get_by_role("button", name="Keep the silver").click()
    expect(page.locator("#play-moves li").nth(2)).to_have_text("3 ☗２二銀(23)")


@pytest.mark.parametrize("watched", [NARROW], indirect=True)
def test_a_game_is_won_by_touch_on_a_phone(service: Service, watched: Watched) -> None:
    page = open_play(service, watched, start=DROP_THEN_PROMOTE)
    page.get_by_role("button", name="Start the game").tap()
    said(page, "Your turn")
    page.get_by_role("button", name="pawn in hand").tap()
    square(page, "5e").tap()
    said(page, "Gote: pawn to 9d. Your turn")
    square(page, "2c").tap()
    square(page, "2b").tap()
    page.get_by_role("button", name="Promote to").tap()
    said(page, "You won by checkmate.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_view_tells_repetitions_and_the_fourth_ends_the_game(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched, start=SHUFFLE)
    begin(page)
    for number in range(6):
        move(page, *(("5i", "4i"), ("4i", "5i"))[number % 2])
        expect(page.locator("#play-moves li")).to_have_count(2 * number + 2)
        if number == 3:
            said(page, "This position has occurred 3 times; the fourth time ends the game.")
        elif number < 5:
            said(page, "Your turn")
    said(page, "A draw by fourfold repetition. Kept as game 1.")
    expect(page.locator("#play-games li")).to_contain_text("a draw, repetition, 12 moves")


def test_a_person_resigns_as_gote_and_the_board_is_turned(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched, colour="white", simulations="16", temperature="1")
    begin(page)
    assert square(page, "1a").bounding_box()["y"] > square(page, "1i").bounding_box()["y"]
    page.get_by_role("button", name="Resign").click()
    page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    said(page, "Your turn (gote)")
    page.get_by_role("button", name="Resign").click()
    page.get_by_role("dialog").get_by_role("button", name="Resign").click()
    said(page, "You lost by resignation. Kept as game 1.")


def test_a_person_declares_a_win(service: Service, watched: Watched) -> None:
    page = open_play(service, watched, start=ENTERED)
    begin(page)
    said(page, "You may declare a win.")
    page.get_by_role("button", name="Declare").click()
    said(page, "You won by declaration. Kept as game 1.")


def test_moves_are_taken_back_looked_at_and_kept_over_a_reload(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched, start="startpos moves 7g7f 3c3d")
    begin(page)
    expect(page.get_by_role("button", name="Take back")).to_be_disabled()
    move(page, "2g", "2f")
    expect(page.locator("#play-moves li")).to_have_count(4)
    said(page, "Your turn")
    page.get_by_label("Show its thoughts").check()
    expect(page.locator("#play-top li")).to_have_count(5)
    expect(page.locator("#play-value")).to_contain_text("It expects to win")
    page.reload()
    expect(page.locator("#play-moves li")).to_have_count(4)
    said(page, "Your turn")
    page.locator("#play-moves button").first.click()
    said(page, "You look at an earlier position.")
    expect(page.locator("#play-board .movable")).to_have_count(0)
    page.get_by_role("button", name="Newest position").click()
    page.get_by_label("Western letters").check()
    expect(page.locator("#play-moves button").nth(2)).to_have_text("3 ☗P2g-2f")
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#play-moves li")).to_have_count(2)
    said(page, "Your turn")
    expect(square(page, "2g")).to_have_accessible_name("2g sente pawn")


def test_a_start_that_is_not_legal_is_refused_in_words(service: Service, watched: Watched) -> None:
    page = open_play(service, watched, start="startpos moves 7g7f 7g7f")
    watched.cut = True  # the browser logs any 4xx as an error
    page.get_by_role("button", name="Start the game").click()
    expect(page.locator("#play-refused")).to_contain_text("7g is empty")
    page.locator("#play-sfen").fill("4k4/9/4P4/4G4/9/9/9/9/4K4 x - 1")
    page.get_by_role("button", name="Start the game").click()
    expect(page.locator("#play-refused")).not_to_contain_text("7g is empty")
    page.locator("#play-sfen").fill("4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1")
    page.get_by_role("button", name="Start the game").click()
    expect(page.locator("#play-refused")).to_contain_text("The game is over in this position.")


def test_an_error_of_the_server_can_be_tried_again(service: Service, watched: Watched) -> None:
    page = open_play(service, watched)
    begin(page)
    watched.cut = True
    refuse = {"status": 503, "json": {"detail": "256 requests already wait"}}
    page.route("**/api/move", lambda route: route.fulfill(**refuse), times=1)
    move(page, "7g", "7f")
    expect(page.locator("#play-trouble")).to_contain_text("256 requests already wait")
    page.get_by_role("button", name="Try again").click()
    said(page, "Your turn")
    expect(page.locator("#play-trouble")).to_be_hidden()


def test_hostile_names_never_become_markup(service: Service, watched: Watched) -> None:
    run = {"id": HOSTILE, "this": False, "step": 5}
    watched.page.route("**/api/runs?*", lambda route: route.fulfill(json={"runs": [run]}))
    page = open_play(service, watched, start=DROP_THEN_PROMOTE, person=HOSTILE, model=HOSTILE)
    page.route("**/api/move", lambda route: route.fulfill(json=hostile_move()))
    begin(page)
    expect(page.locator("#play-who")).to_have_text(f"{HOSTILE} against {HOSTILE}")
    page.get_by_role("button", name="pawn in hand").click()
    square(page, "5e").click()
    said(page, "Your turn")
    page.get_by_role("button", name="Resign").click()
    page.get_by_role("dialog").get_by_role("button", name="Resign").click()
    expect(page.locator("#play-games li")).to_contain_text(HOSTILE)
    watched.cut = True
    page.get_by_role("button", name="New game").click()
    page.locator("#play-sfen").fill(HOSTILE)
    page.get_by_role("button", name="Start the game").click()
    expect(page.locator("#play-refused")).to_be_visible()
    assert page.locator("img, #play b").count() == 0


def hostile_move() -> dict[str, Any]:
    """An answer of the server whose names are markup."""
    top = [{"move": "9c9d", "probability": 1.0}]
    return {
        "move": "9c9d", "declares_win": False, "value": 0.0, "top_moves": top, "mate": None,
        "visits": [], "line": [HOSTILE], "sfen": "", "step": 1, "player": HOSTILE,
    }  # fmt: skip


def test_each_view_has_an_address_and_back_and_forward_lead_through_them(
    service: Service, watched: Watched
) -> None:
    service.start()
    page = watched.page
    page.goto(service.url)
    views = page.get_by_role("navigation", name="Views")
    expect(page.locator("#overview")).to_be_visible()
    views.get_by_role("link", name="Play").click()
    expect(page.locator("#play")).to_be_visible()
    expect(page.locator("#overview")).to_be_hidden()
    expect(views.get_by_role("link", name="Play")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title(re.compile("^Play · Training"))
    page.go_back()
    expect(page.locator("#overview")).to_be_visible()
    page.go_forward()
    expect(page.locator("#play")).to_be_visible()
    for unknown in ("#/constructor", "#/learning", "#nonsense"):
        page.goto(f"{service.url}{unknown}")
        expect(page.locator("#overview")).to_be_visible()
        expect(page).to_have_url(f"{service.url}#/")


@pytest.mark.parametrize("service", ["watch"], indirect=True)
def test_the_page_of_keisei_watch_says_why_nobody_can_play(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched)
    expect(page.locator("#watched")).to_contain_text("cannot control the run")
    expect(page.get_by_role("button", name="Start the game")).to_be_hidden()


@pytest.mark.parametrize("watched", [{}, DARK, NARROW, NARROW | DARK], indirect=True)
def test_all_text_of_the_view_has_enough_contrast_and_fits(
    service: Service, watched: Watched
) -> None:
    page = open_play(service, watched)
    assert weak_texts(page) == []
    begin(page)
    page.get_by_label("Show its thoughts").check()
    move(page, "7g", "7f")
    expect(page.locator("#play-top li")).to_have_count(5)
    page.locator(".keys summary").click()
    assert weak_texts(page) == []
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
