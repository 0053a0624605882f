"""The routes that list this run and the other runs in the folder ``run.root``."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from keisei.server.answers import LINK, Json, in_thread, read_page
from keisei.server.documents import ListedRun, RunPage
from keisei.server.hosts import is_public
from keisei.server.models import RunsQuery
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.source import Reader, Source
from keisei.store import RunReader
from keisei.store.runs import describe_run, run_folders


@operation("GET", "/api/runs", query=RunsQuery, answer=RunPage, sends=LINK)
async def runs(request: Request, query: RunsQuery) -> Response:
    """Return at most ``limit=`` runs, newest first; ``after=`` selects the next page.

    The list contains this run and the runs in the folder ``run.root``. On a public board, the list
    contains only this run.
    """
    source = _source(request)

    def read(limit: int, after: str | None) -> list[dict[str, Any]]:
        return [_describe(source, folder) for folder in page_of(_folders(source), limit, after)]

    return await read_page(request, query, "runs", read)


@operation(
    "GET",
    "/api/runs/{id}",
    answer=ListedRun,
    id="Id of the run: the name of its folder.",
    problems={404: "There is no such run."},
)
async def run(request: Request) -> Response:
    """Return one of the runs that ``/api/runs`` lists."""
    source, id = _source(request), request.path_params["id"]
    return Json(await in_thread(request, lambda: _describe(source, _find(source, id))))


def page_of(folders: list[Path], limit: int, after: str | None) -> list[Path]:
    """Return at most ``limit`` folders, beginning after the folder named ``after``."""
    if after is not None:
        names = [folder.name for folder in folders]
        folders = folders[names.index(after) + 1 :] if after in names else []
    return folders[:limit]


async def reader_of(request: Request, id: str | None) -> Reader:
    """Return the reader of the run with this id; None means this run. Raises Problem 404."""
    source = _source(request)
    if id is None or id == source.status().run:
        return source.reader
    return RunReader(await in_thread(request, _find, source, id))


def _find(source: Source, id: str) -> Path:
    """Return the folder of a run. Raises Problem 404.

    ``id`` can be any text from a client. This text is only compared with the names of the runs'
    folders, so a path such as ``../secret`` finds nothing.
    """
    for folder in _folders(source):
        if folder.name == id:
            return folder
    raise Problem(404, f"There is no run {id!r}.")


def _folders(source: Source) -> list[Path]:
    """Return the folders of all listed runs, newest run first.

    If this run is outside ``run.root``, this run is the first. A public board shows only this run.
    """
    settings, own = source.settings, source.reader.path
    folders = [] if is_public(settings.server) else run_folders(settings.run.root.absolute())
    return folders if own is None or own in folders else [own, *folders]


def _describe(source: Source, folder: Path) -> dict[str, Any]:
    return {**describe_run(folder), "this": folder == source.reader.path}


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


OPERATIONS = [runs, run]
