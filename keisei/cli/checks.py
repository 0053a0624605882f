"""The checks of ``keisei doctor``: does this machine have what a run needs?"""

import asyncio
import netrc
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from keisei.config import Settings

Verdict = Literal["ok", "warning", "problem"]

LITTLE_MEMORY = 2 * 2**30
"""Bytes of free memory below which the system might kill a run."""
LITTLE_SPACE = 2**30
"""Bytes of free disk space below which ``/readyz`` says that the run is not healthy."""
FEW_DESCRIPTORS = 1024
"""Number of file descriptors below which the server accepts few connections."""
ENGINE_SECONDS = 10.0
"""Timeout in seconds for an engine's ``usiok``, and again for its ``readyok``."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""File with the memory limit of a container, in bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a check."""

    name: str
    verdict: Verdict
    """``problem`` means that a run cannot start."""
    found: str
    advice: str = ""
    """What the user can do; empty if nothing needs to be done."""


def examine(settings: "Settings") -> Iterator[Finding]:
    """Yield the findings of all checks. An exception in a check becomes a warning."""
    for check in CHECKS:
        name = check.__name__.strip("_").replace("_", " ")
        try:
            yield from check(settings)
        except Exception as error:  # noqa: BLE001 (the other checks must still run)
            text = f"the check failed: {type(error).__name__}: {error}"
            yield Finding(name, "warning", text, "report this as an error of Keisei")


# ---------------------------------------------------------------- the machine


def _python(settings: "Settings") -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _torch(settings: "Settings") -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "problem", f"cannot be imported: {error}", "pip install torch")
        return
    yield Finding("torch", "ok", torch.__version__)
    yield from _device(settings)


def _device(settings: "Settings") -> Iterator[Finding]:
    """Check the device and its precision. This needs torch."""
    import torch

    from keisei.nets.policy import DeviceError, resolve_device, resolve_dtype

    try:
        device = resolve_device(settings.device)
    except DeviceError as error:
        yield Finding("device", "problem", str(error), "choose another --device, such as auto")
        return
    if device.type == "cuda":
        yield Finding("device", "ok", f"{device}: {torch.cuda.get_device_name(device)}")
    elif settings.device == "auto" and shutil.which("nvidia-smi"):
        advice = "install a CUDA build of torch that fits the driver (nvidia-smi shows it)"
        yield Finding("device", "warning", "cpu, although there is an NVIDIA driver", advice)
    else:
        yield Finding("device", "ok", str(device))
    native = resolve_dtype("auto", device) is torch.bfloat16
    if settings.compute.dtype == "bfloat16" and not native:
        text = f"{device} does not compute bfloat16 natively, so training will be slow"
        yield Finding("bfloat16", "warning", text, "set compute.dtype to auto")
    else:
        yield Finding("bfloat16", "ok", "native" if native else "not native: float32 is used")


def _threads(settings: "Settings") -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    text = f"{cores} cores for this process"
    for key, threads in (
        ("compute.threads", settings.compute.threads),
        ("env.threads", settings.env.threads),
    ):
        if threads > cores:
            text = f"{key} is {threads}, but this process may use {cores} cores"
            yield Finding("threads", "warning", text, f"set {key} to {cores} or less")
            return
    yield Finding("threads", "ok", text)


def _memory(settings: "Settings") -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or no limit ("max")
        free = min(free, int(CGROUP_LIMIT.read_text()))
    text = f"{free / 2**30:.1f} GiB available"
    if free < LITTLE_MEMORY:
        advice = "end other programs, or use a smaller net and fewer games (env.games)"
        yield Finding("memory", "warning", text, advice)
    else:
        yield Finding("memory", "ok", text)


def _descriptors(settings: "Settings") -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft}"
    if soft != resource.RLIM_INFINITY and soft < FEW_DESCRIPTORS:
        advice = "ulimit -n 4096, or LimitNOFILE=4096 in a systemd unit"
        yield Finding("descriptors", "warning", f"{text}: few browsers can connect", advice)
    else:
        yield Finding("descriptors", "ok", text)


# ---------------------------------------------------------------- files and the port


def _disk(settings: "Settings") -> Iterator[Finding]:
    root = settings.run.root.absolute()
    if problem := _cannot_write(root):
        advice = "choose another folder with --run.root, or change its permissions"
        yield Finding("disk", "problem", f"{root}: {problem}", advice)
        return
    free = shutil.disk_usage(_existing(root)).free
    text = f"{root}: {free / 2**30:.1f} GiB free"
    if free < LITTLE_SPACE:
        yield Finding("disk", "warning", text, "free some space, or choose another --run.root")
    else:
        yield Finding("disk", "ok", text)


def _file_system(settings: "Settings") -> Iterator[Finding]:
    from keisei.store.filesystem import NetworkFileSystemError, check_file_system

    root = settings.run.root.absolute()
    try:
        kind = check_file_system(root)
    except NetworkFileSystemError as error:
        found, _, advice = str(error).rpartition(": ")
        yield Finding("file system", "problem", found, advice)
        return
    yield Finding("file system", "ok", f"{root}: {kind or 'unknown'}")


def _port(settings: "Settings") -> Iterator[Finding]:
    from keisei.server.hosts import HostRefusedError, check_host
    from keisei.server.serve import BindError, bind

    server = settings.server
    try:
        check_host(server)
        bind(server.host, server.port).close()
    except HostRefusedError as error:
        yield Finding("port", "problem", str(error), "change the setting")
    except BindError as error:
        found, _, advice = str(error.strerror).partition(": ")
        yield Finding("port", "problem", found, advice)
    else:
        yield Finding("port", "ok", f"{server.host}:{server.port} is free")


def _kernel_cache(settings: "Settings") -> Iterator[Finding]:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR", ""))
    if problem := _cannot_write(folder):
        text = f"{folder}: {problem}: each start compiles the kernels for half a minute"
        advice = "set NUMBA_CACHE_DIR to a folder that can be written"
        yield Finding("kernel cache", "warning", text, advice)
    else:
        yield Finding("kernel cache", "ok", str(folder))


def _existing(path: Path) -> Path:
    """Return the path if it exists; otherwise, the nearest existing folder above the path."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _cannot_write(path: Path) -> str:
    """Write a test file in ``_existing(path)``. Return the error, or "" if there is none."""
    try:
        with tempfile.TemporaryFile(dir=_existing(path)) as file:
            file.write(bytes(2**20))
    except OSError as error:
        return str(error.strerror)
    return ""


# ---------------------------------------------------------------- other programs


def _chromium(settings: "Settings") -> Iterator[Finding]:
    found = shutil.which("chromium")
    text = found or "not installed: only Keisei's own browser tests need it"
    yield Finding("chromium", "ok", text)


def _engines(settings: "Settings") -> Iterator[Finding]:
    import anyio

    engines = settings.evaluation.engines
    if not engines:
        yield Finding("engines", "ok", "none in evaluation.engines")
        return

    async def start_all() -> list[Finding]:
        return await asyncio.gather(*(_engine(name, text) for name, text in engines.items()))

    yield from anyio.run(start_all)


async def _engine(name: str, text: str) -> Finding:
    """Start an engine with its options and wait until it is ready."""
    from keisei.usi import Engine, EngineSpec, EngineSpecError, EngineStartError, Timeouts

    title = f"engine {name}"
    try:
        spec = EngineSpec.parse(text)
        async with Engine(spec, Timeouts(usi=ENGINE_SECONDS, ready=ENGINE_SECONDS)) as engine:
            return Finding(title, "ok", f"{engine.name} ({spec.path})")
    except EngineSpecError as error:
        return Finding(title, "problem", str(error), f"correct evaluation.engines.{name}")
    except EngineStartError as error:
        advice = f"correct evaluation.engines.{name}, or install the engine"
        return Finding(title, "warning", str(error), advice)


def _wandb(settings: "Settings") -> Iterator[Finding]:
    try:
        text = version("wandb")
    except PackageNotFoundError:
        yield Finding("wandb", "warning", "not installed", "pip install wandb, to use W&B")
        return
    mode, has_key = settings.wandb.mode, _has_wandb_key()
    text = f"{text}, wandb.mode is {mode}, {'an API key is set' if has_key else 'no API key'}"
    if mode == "online" and not has_key:
        advice = "store a key with `wandb login`; without a key, the run is logged offline"
        yield Finding("wandb", "warning", text, advice)
    else:
        yield Finding("wandb", "ok", text)


def _has_wandb_key() -> bool:
    """Return whether W&B will find an API key. The key itself is never shown."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    file = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(file).authenticators(host.partition(":")[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


CHECKS: tuple[Callable[["Settings"], Iterator[Finding]], ...] = (
    *(_python, _torch, _threads, _memory, _descriptors),
    *(_disk, _file_system, _port, _kernel_cache),
    *(_chromium, _engines, _wandb),
)
