"""docs/guide/http-api.md agrees with the OpenAPI document, and its examples run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from contract import DOCUMENT
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from stream_client import served

GUIDE = (Path(__file__).parents[2] / "docs/guide/http-api.md").read_text("utf-8")
CHROMIUM = Path("/usr/bin/chromium")
ADDRESS = "http://127.0.0.1:8700"


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", GUIDE)


def requests() -> list[tuple[str, str, set[str]]]:
    """Method, path and query parameters of each request in the table of requests."""
    rows = re.findall(r"(?m)^\| (`(?:GET|POST|DELETE) .*?) \|", GUIDE)
    found = [item for row in rows for item in re.findall(r"`([A-Z]+) ([^`]+)`", row)]
    return [
        (
            method,
            urlsplit(path).path.replace("/ID", "/{id}").replace("/NUMBER", "/{number}"),
            set(parse_qs(urlsplit(path).query)),
        )
        for method, path in found
    ]


@pytest.mark.parametrize(("method", "path", "query"), requests())
def test_the_guide_names_all_query_parameters_of_a_request(
    method: str, path: str, query: set[str]
) -> None:
    operation = DOCUMENT["paths"][path][method.lower()]
    assert query == {one["name"] for one in operation["parameters"] if one["in"] == "query"}


def fields(title: str) -> set[str]:
    """The names in the first column of the table after a text."""
    table = GUIDE.partition(title)[2].lstrip().partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_guide_names_all_fields_of_an_evaluation() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert (
        fields("The server refuses unknown fields.") == schemas["EvalRequest"]["properties"].keys()
    )
    named = fields("answer to `GET /api/eval/ID` contain:")
    assert named == schemas["EvaluationFields"]["properties"].keys()


def test_the_guide_names_all_fields_of_a_move() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    asked = GUIDE.partition("## Moves")[2]
    assert fields(f"{asked.partition('unknown fields.')[0]}unknown fields.") == set(
        schemas["MoveRequest"]["properties"]
    )
    assert fields("The answer contains:") == set(schemas["MoveAnswer"]["properties"])


def test_the_guide_names_all_statuses_of_problems() -> None:
    named = set(re.findall(r"(?m)^\| (\d{3}) \|", GUIDE))
    documented = {
        status
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status >= "400"
    }
    assert named == documented | {"405"}  # the server's answer to an operation that does not exist


async def run(command: list[str], limit: float = 60) -> str:
    """Run a program in a process of its own; return its output."""
    ran = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def on(url: str, code: str) -> str:
    return code.replace(ADDRESS, url.rstrip("/"))


@pytest.mark.anyio
async def test_the_curl_examples_get_answers(app: Starlette) -> None:
    [code] = [block for block in blocks("") if "curl" in block]
    async with served(app) as url:
        short = on(url, code).replace("--max-time 60", "--max-time 1")
        output = await run(["bash", "-c", short])
    for part in ('"state": "running"', "event: hello", "Training pauses.", "against material"):
        assert part in output


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("library", "said"), [("httpx", ["done 0.9 ", "3 capped", "1 capped"]), ("httpx_sse", ["0."])]
)
async def test_the_python_examples_run(app: Starlette, library: str, said: list[str]) -> None:
    [code] = [block for block in blocks("python") if f"{library} import" in block] or blocks(
        "python"
    )[:1]
    async with served(app) as url:
        output = await run([sys.executable, "-c", on(url, code)])
    for part in said:
        assert part in output


@pytest.mark.anyio
@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
async def test_the_fetch_example_runs_in_node(app: Starlette, tmp_path: Path) -> None:
    file = tmp_path / "example.mjs"
    async with served(app) as url:
        file.write_text(on(url, blocks("javascript")[0]))
        output = (await run(["node", str(file)])).splitlines()
    assert output[0] == "Training pauses."
    assert "did you mean opponent?" in output[1]
    assert output[2] == "Training continues."


@pytest.mark.anyio
@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")
async def test_the_javascript_examples_run_on_a_page_of_the_server(app: Starlette) -> None:
    lines: list[str] = []
    async with served(app) as url, async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM)
        page = await browser.new_page()
        page.on("console", lambda message: lines.append(message.text))
        await page.goto(f"{url}api/reference")
        for code in blocks("javascript"):
            await page.evaluate(f"async () => {{ {on(url, code)} }}")
        with anyio.fail_after(30):
            while sum(bool(re.match(r"\d+ 0\.", line)) for line in lines) < 3:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        await browser.close()
    assert "Training continues." in lines
    assert not [line for line in lines if "Security Policy" in line]
