"""The page that a browser gets in place of the requested answer until the user signs in."""

import base64
import hashlib
import html
import re
from functools import cache

from anyio import to_thread
from starlette.responses import HTMLResponse

from keisei.resources import page_directory

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


async def sign_in_page(root_path: str, headers: dict[str, str]) -> HTMLResponse:
    """Return the answer 401 with the page. ``root_path``: where the application is mounted."""
    page, policy = await to_thread.run_sync(_load)
    text = page.replace("ROOT_PATH", html.escape(root_path))
    return HTMLResponse(text, 401, {**headers, "Content-Security-Policy": policy})


@cache
def _load() -> tuple[str, str]:
    """Return the page, and a policy that allows no script or style but the page's own."""
    page = (page_directory() / "sign-in.html").read_text("utf-8")
    sources = {kind: _hash(text) for kind, text in _INLINE.findall(page)}
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page, policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
