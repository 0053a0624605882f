"""The document and the reference page, as a client gets them."""

import re

import httpx
import pytest
from contract import DOCUMENT
from starlette.applications import Starlette
from starlette.routing import Mount

pytestmark = pytest.mark.anyio


async def test_the_page_shows_every_operation_and_type(client: httpx.AsyncClient) -> None:
    page = await client.get("/api/reference")
    assert page.headers["content-type"].startswith("text/html")
    for path in DOCUMENT["paths"]:
        assert f"</b> {path}</code>" in page.text
    anchors = set(re.findall(r' id="([^"]+)"', page.text))
    assert DOCUMENT["components"]["schemas"].keys() <= anchors
    assert set(re.findall(r'href="#([^"]+)"', page.text)) <= anchors


async def test_the_page_uses_no_script_and_only_files_of_this_server(
    client: httpx.AsyncClient,
) -> None:
    text = (await client.get("/api/reference")).text
    assert "<script" not in text
    assert " style=" not in text
    assert "http://" not in text
    assert "https://" not in text
    for file in re.findall(r'stylesheet" href="\.\./([^"]+)"', text):
        assert (await client.get(f"/{file}")).status_code == 200


async def test_a_mounted_application_names_its_own_address(app: Starlette) -> None:
    host = Starlette(routes=[Mount("/shogi", app)])
    transport = httpx.ASGITransport(host)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        document = (await client.get("/shogi/openapi.json")).json()
        assert document["servers"] == [{"url": "/shogi"}]
        page = await client.get("/shogi/api/games?limit=1")
        following = page.links["next"]["url"]
        assert following == "/shogi/api/games?limit=1&after=3"
        assert (await client.get(following)).json()["games"][0]["id"] == 2
