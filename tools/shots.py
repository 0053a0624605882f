"""Take pictures of the page, narrow and wide, light and dark, for a person to look at."""

import argparse
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SIZES = {390: 844, 768: 1024, 1440: 900}
VIEWS = {"page": "", "play": "#/play"}
"""Names of the pictures, and the addresses of the views."""


@contextmanager
def fake_run(history):
    """Serve a fake run; give its address."""
    command = [sys.executable, "-m", "keisei.testing", "--port", "0", "--history", str(history)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def shoot(browser: Browser, url: str, file: Path, width: int, scheme: str, seconds: float) -> None:
    """Watch the page for so many seconds, then take one picture of the whole page."""
    page = browser.new_page(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme=scheme,
        device_scale_factor=1.5,
    )
    page.goto(url)
    page.wait_for_timeout(seconds * 1000)
    page.screenshot(path=file, full_page=True)
    print(file)
    page.close()


def main() -> None:
    """Take all pictures of a run or of a fake run."""
    parser = argparse.ArgumentParser(prog="tools/shots", description=__doc__)
    parser.add_argument("--url", help="address of a running page (default: a fake run)")
    parser.add_argument("--out", type=Path, default=Path("shots"), help="folder of the pictures")
    parser.add_argument("--seconds", type=float, default=4.0, help="time before each picture")
    parser.add_argument("--history", type=int, default=400, help="iterations of the fake run")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if args.url:
            shots(browser, args.url, args)
        else:
            with fake_run(args.history) as url:
                shots(browser, url, args)
        browser.close()


def shots(browser: Browser, url: str, args: argparse.Namespace) -> None:
    """Take the pictures in all sizes and colour schemes."""
    for width in SIZES:
        for scheme in ("light", "dark"):
            for name, view in VIEWS.items():
                file = args.out / f"{name}-{width}-{scheme}.png"
                shoot(browser, url + view, file, width, scheme, args.seconds)


if __name__ == "__main__":
    main()
