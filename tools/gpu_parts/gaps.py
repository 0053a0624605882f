"""Find in a trace of torch's profiler what the device did, and when and why it did nothing."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
HOST = frozenset({"cuda_runtime", "cuda_driver", "cpu_op"})
PHASE = "phase "
"""Start of the name of an annotation that marks a phase of an iteration."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which the device did nothing. Times are in microseconds."""

    start: float
    end: float
    after: str
    """Name of the work that the device did before the gap."""
    before: str
    """Name of the work that the device did after the gap."""

    @property
    def length(self) -> float:
        """Length in microseconds."""
        return self.end - self.start


def device_work(events: Iterable[Event]) -> list[Event]:
    """Return the device's work in order. Without a GPU, torch's operators are the work."""
    timed = [event for event in events if event.get("ph") == "X"]
    work = [event for event in timed if event.get("cat") in DEVICE]
    work = work or [event for event in timed if event.get("cat") == "cpu_op"]
    return sorted(work, key=lambda event: float(event["ts"]))


def find_gaps(work: list[Event]) -> list[Gap]:
    """Return the times in which no stream of the device worked, in order."""
    gaps: list[Gap] = []
    last, end = "", float(work[0]["ts"])
    for event in work:
        start, name = float(event["ts"]), str(event["name"])
        if start > end:
            gaps.append(Gap(end, start, last, name))
        if start + event["dur"] >= end:
            last, end = name, start + event["dur"]
    return gaps


def phases(events: Iterable[Event]) -> list[Event]:
    """Return the annotations that mark phases, in order. They don't overlap."""
    marks = [
        event
        for event in events
        if event.get("cat") == "user_annotation" and str(event["name"]).startswith(PHASE)
    ]
    return sorted(marks, key=lambda event: float(event["ts"]))


def phase_at(marks: list[Event], time: float) -> str:
    """Return the phase that the CPU was in at a time, or "other"."""
    place = bisect_right(marks, time, key=lambda event: float(event["ts"])) - 1
    if place >= 0 and time <= marks[place]["ts"] + marks[place]["dur"]:
        return str(marks[place]["name"]).removeprefix(PHASE)
    return "other"


def host_during(events: list[Event], gap: Gap) -> str:
    """Return the call in which the CPU spent most of a gap, or "Python" if there was none."""
    best, longest = "Python", gap.length / 4
    for event in events:
        start = float(event["ts"])
        shared = min(gap.end, start + event["dur"]) - max(gap.start, start)
        if event.get("cat") in HOST and shared > longest:
            best, longest = str(event["name"]), shared
    return best


def analyse(events: list[Event], rows: int = 20) -> dict[str, Any]:
    """Return busy time, idle time by phase, the largest gaps, and the longest kernels."""
    work, marks = device_work(events), phases(events)
    if not work:
        return {}
    gaps, timed = find_gaps(work), [event for event in events if event.get("ph") == "X"]
    idle: dict[str, list[float]] = defaultdict(list)
    for gap in gaps:
        idle[phase_at(marks, gap.start)].append(gap.length)
    span = max(event["ts"] + event["dur"] for event in work) - work[0]["ts"]
    largest = sorted(gaps, key=lambda gap: -gap.length)[:rows]
    return {
        "span_ms": span / 1000,
        "busy": 1 - sum(gap.length for gap in gaps) / span,
        "launches": len(work),
        "idle_by_phase": {
            phase: {"ms": sum(lengths) / 1000, "gaps": len(lengths)}
            for phase, lengths in sorted(idle.items(), key=lambda item: -sum(item[1]))
        },
        "largest_gaps": [
            {
                "us": gap.length,
                "phase": phase_at(marks, gap.start),
                "host": host_during(timed, gap),
                "after": gap.after[:80],
                "before": gap.before[:80],
            }
            for gap in largest
        ],
        "top_kernels": _longest(work)[:rows],
    }


def _longest(work: list[Event]) -> list[dict[str, Any]]:
    """Return time and number of calls for each kind of work, the longest time first."""
    time: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in work:
        time[event["name"]] += event["dur"]
        calls[event["name"]] += 1
    return [
        {"ms": us / 1000, "calls": calls[name], "name": name[:120]}
        for name, us in time.most_common()
    ]
