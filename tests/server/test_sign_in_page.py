"""The page to sign in: its policy fits its text, and a mount path is written safely."""

import pytest

from keisei.server.sign_in_page import sign_in_page

pytestmark = pytest.mark.anyio


async def test_the_path_of_the_mount_is_escaped() -> None:
    answer = await sign_in_page('/"><script>', {})
    assert b'action="/&quot;&gt;&lt;script&gt;/api/session"' in bytes(answer.body)


async def test_the_policy_allows_one_script_and_one_style_by_their_hashes() -> None:
    policy = (await sign_in_page("", {})).headers["content-security-policy"]
    assert policy.count("'sha256-") == 2
    assert policy.startswith("default-src 'none'; ")
