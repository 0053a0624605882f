"""The page's modules that need no browser, tested by Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no node: apt-get install nodejs")
def test_the_modules_that_need_no_browser() -> None:
    assert NODE
    ran = subprocess.run(
        [NODE, "--test", str(Path(__file__).with_name("modules.test.mjs"))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
