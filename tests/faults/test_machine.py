"""Faults of the machine and the process while a run trains."""

import os
import resource
import signal
import time
from pathlib import Path

import psutil
import pytest
from forked import Forked, Train

from keisei.store import find_checkpoint
from keisei.store.lock import holder_pid

LEARN = """
import time, torch
from keisei.ppo.learner import Learner
learn, calls = Learner._learn, 0
def _learn(self, *arguments):
    global calls
    calls += 1
    if {when}:
        {fault}
    return learn(self, *arguments)
Learner._learn = _learn
"""
"""Patch that does something at the call of a minibatch for which ``when`` is true."""
ALLOCATE = "torch.empty(2**50)"
DIVERGE = "next(self.net.parameters()).register_hook(lambda gradient: gradient * float('nan'))"
SHORT_ALLOWANCE = """
import keisei.cli.process, keisei.feed.supervise
keisei.feed.supervise.ALLOWANCE["iteration"] = 0.5
keisei.cli.process.LEAVE_SECONDS = 2
"""


def goes_on(process: Forked) -> None:
    """Assert that the run trains and saves further checkpoints."""
    seen = len(process.events())
    process.event("checkpoint", seen)
    process.event("checkpoint", seen + 5)


def alerts(process: Forked) -> list[str]:
    return [event["name"] for event in process.events() if event["event"] == "alert"]


def assert_resumes(train: Train, run: Path) -> None:
    """Assert that no checkpoint is damaged, and that the run can be resumed."""
    assert find_checkpoint(run)[1] == []
    process = train(run, "--resume")
    process.event("checkpoint")
    assert process.stop() == 0


def test_a_loss_that_is_not_finite_ends_the_run_and_reaches_no_checkpoint(
    train: Train, tmp_path: Path
) -> None:
    process = train(tmp_path / "run", patch=LEARN.format(when="calls == 9", fault=DIVERGE))
    process.event("alert", name="nonfinite")
    assert process.wait() == 1
    assert "training failed: DivergedError" in process.errors
    assert_resumes(train, tmp_path / "run")


def test_out_of_memory_once_costs_an_iteration(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", patch=LEARN.format(when="calls == 9", fault=ALLOCATE))
    process.event("alert", name="out_of_memory", message="can't allocate memory")
    goes_on(process)
    assert alerts(process).count("out_of_memory") == 1
    assert process.stop() == 0
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_out_of_memory_always_ends_the_run(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run", patch=LEARN.format(when="calls >= 9", fault=ALLOCATE))
    assert process.wait() == 1
    assert alerts(process).count("out_of_memory") == 2
    assert "can't allocate memory" in process.errors
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_a_dead_device_thread_ends_the_run(train: Train, tmp_path: Path) -> None:
    process = train(
        tmp_path / "run", patch=LEARN.format(when="calls == 9", fault="raise SystemExit(7)")
    )
    assert process.wait() == 1
    assert "training failed: SystemExit: 7" in process.errors
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_a_hung_device_thread_gives_an_alert_and_a_stop_ends_it(
    train: Train, tmp_path: Path
) -> None:
    hang = LEARN.format(when="calls == 9", fault="time.sleep(600)")
    process = train(tmp_path / "run", patch=hang + SHORT_ALLOWANCE)
    process.event("alert", name="watchdog", message="has reported nothing for")
    assert process.stop() == 1
    assert "in _learn" in process.errors, "the stacks show where it hangs"
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_jumps_of_the_clock_change_nothing(train: Train, tmp_path: Path) -> None:
    shift = tmp_path / "shift"
    shift.write_text("0")
    jump = f"import time\nreal = time.time\ntime.time = lambda: real() + int(open({str(shift)!r}).read())"
    process = train(tmp_path / "run", patch=jump)
    process.event("checkpoint")
    for seconds in (86_400, -86_400):
        shift.write_text(f"{seconds:010}")
        goes_on(process)
    assert alerts(process) == []
    assert process.stop() == 0
    path, _ = find_checkpoint(tmp_path / "run")
    assert int(path.name) == max(event["step"] for event in process.events())
    assert_resumes(train, tmp_path / "run")


def test_without_descriptors_saves_fail_but_training_goes_on(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run")
    process.event("checkpoint")
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    process.event("alert", name="checkpoint_failed", message="Too many open files")
    process.event("iteration", len(process.events()))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
    goes_on(process)
    assert process.stop() == 0
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_a_run_goes_on_after_it_was_suspended(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run")
    process.event("checkpoint")
    process.signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.signal(signal.SIGCONT)
    goes_on(process)
    assert alerts(process) == []
    assert process.stop() == 0
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_sighup_stops_a_run_in_good_order(train: Train, tmp_path: Path) -> None:
    process = train(tmp_path / "run")
    process.event("checkpoint")
    process.signal(signal.SIGHUP)
    assert process.wait() == 0
    assert process.events()[-1]["event"] == "stopped"
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_a_run_whose_reader_of_stdout_is_gone_stops_in_good_order(
    train: Train, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = train(tmp_path / "run", stdout=pipe)
    with pipe.open() as reader:
        for line in reader:
            if '"checkpoint"' in line:
                break
    assert process.wait() == 0, process.errors
    assert_resumes(train, tmp_path / "run")


@pytest.mark.nightly
def test_a_run_goes_on_after_its_parent_is_gone(train: Train, tmp_path: Path) -> None:
    parent = train(tmp_path / "run", orphan=True)
    parent.event("checkpoint")
    pid = holder_pid(tmp_path / "run/lock")
    assert pid
    run = psutil.Process(pid)
    assert run.ppid() == parent.pid
    parent.kill()
    seen = len(parent.events())
    end = time.monotonic() + 30
    while len(parent.events()) < seen + 10:
        assert time.monotonic() < end
        time.sleep(0.02)
    run.terminate()
    run.wait(30)
    assert parent.events()[-1]["event"] == "stopped"
    assert_resumes(train, tmp_path / "run")
