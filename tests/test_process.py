"""Set-up of the whole process, and the size of its heap."""

import json
import subprocess
import sys

import pytest

from keisei.process import heap_bytes

PRINT_STATE = """
import json, os, sys
print(json.dumps([os.environ.get("GOMP_SPINCOUNT"), sys.getswitchinterval(), "torch" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, "6000"), ({"OMP_WAIT_POLICY": "passive"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")],
)
def test_a_program_prepares_its_process_before_torch(
    environment: dict[str, str], spins: str | None
) -> None:
    code = "import keisei; keisei.prepare_process()" + PRINT_STATE
    answer = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert json.loads(answer) == [spins, 0.0005, False]


def test_preparing_after_the_import_of_torch_is_refused() -> None:
    code = "import torch, keisei; keisei.prepare_process()"
    answer = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "prepare_process() must be called before torch is imported" in answer.stderr


@pytest.mark.skipif(heap_bytes() == 0, reason="needs glibc 2.33 or newer")
def test_the_heap_in_use_counts_what_is_allocated_and_not_freed() -> None:
    before = heap_bytes()
    small = [bytes(2000) for _ in range(5000)]  # each from malloc, together 10 MB
    large = bytes(10_000_000)
    allocated = heap_bytes()
    assert 20_000_000 <= allocated - before < 22_000_000
    del small[::2], large
    assert 5_000_000 <= heap_bytes() - before < 6_000_000
