"""What the page's addresses do: plain functions from an object to an object, for any server."""

import contextlib
import dataclasses
import functools
import importlib
import os
import secrets
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold.builder.attention.settings import Settings
from pinfold.builder.drawing.check import check
from pinfold.builder.drawing.problems import problems
from pinfold.builder.drawing.schema import schema
from pinfold.builder.drawing.state import read_config, read_state
from pinfold.builder.export import run as running
from pinfold.builder.export.run import Say
from pinfold.common.errors import UserError
from pinfold.fence import process as fence

CANCELLED = "cancelled; nothing was written"
_IMPORTING = threading.Lock()
KEPT = 4  # zip files, the newest
SECONDS = 600  # of a comparison


class BusyError(UserError):
    """One run, export or comparison at a time."""


class CancelledError(UserError):
    """The user has cancelled the job."""


class Job:
    """One run, export or comparison: what it says, whether it was cancelled, and whether it is too late for that."""

    def __init__(self, say: Say) -> None:
        self._say, self.cancelled, self.written = say, threading.Event(), False

    def say(self, event: dict[str, Any]) -> None:
        """Say one step.

        Raises:
            CancelledError: between two steps, where no process runs that could be ended.
        """
        if self.cancelled.is_set() and not self.written and event.get("state") != "failed":
            raise CancelledError(CANCELLED)
        self._say(event)


class Builder:
    """The state of a server: the one job that runs, and the folders that were exported.

    Args:
        output: where exported folders go. form: a model folder that is opened as a form, if any.
        shared: whether strangers use it, as in a Space: it reads no files of its machine, keeps no folders, and one
            user cannot end another one's job.
    """

    def __init__(self, output: Path, form: Any = None, shared: bool = False) -> None:
        self.output, self.form, self.shared = output, form, shared
        self._lock = threading.Lock()
        self._running: Job | None = None
        self._checking, self._asked = threading.Lock(), object()
        self._zips = tempfile.TemporaryDirectory(prefix="pinfold-")
        self._downloads: dict[str, tuple[Path, str]] = {}

    def close(self) -> None:
        """End what runs, and remove the zip files."""
        self.end()
        fence.end_all()  # a form's check too, which is not a job
        self._zips.cleanup()

    def schema(self) -> dict[str, Any]:
        imported()
        answer = schema()
        return {**answer, **self.form.schema(answer)} if self.form else answer

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        imported()
        return self._form_check(request) if self._is_form(request) else check(request)

    def _form_check(self, request: dict[str, Any]) -> dict[str, Any]:
        """A form's check takes seconds: one at a time, and of those that wait the last alone."""
        self._asked = ticket = object()
        with self._checking:
            if self._asked is not ticket:
                raise UserError("a later change is checked instead")
            return self.form.check(request)

    def masks(self, request: dict[str, Any]) -> dict[str, Any]:
        """Masks of one layer of an encoder.

        Raises:
            UserError: the drawing has another number of layers, or a problem.
        """
        imported()
        drawing = read_state(request.get("state"))
        if listed := problems(drawing, 1, 1):
            raise UserError(listed[0].line())
        if "attention_type" not in drawing.config:
            raise UserError("the attention of a decoder has one kind; masks are for an encoder's layers")
        from pinfold.builder.attention.masks import layer_masks

        fields, layer = drawing.configuration(), request.get("layer", 0)
        return layer_masks(fields, layer, request.get("length", 48), request.get("pads", 0))

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        """The drawing of a config.json, given as its text or by the folder that holds it.

        Raises:
            UserError: it cannot be read or drawn.
        """
        text = request.get("text")
        if not isinstance(text, str) and self.shared:
            raise UserError("this server opens no folders; paste or choose a config.json")
        if not isinstance(text, str):
            path = Path(str(request.get("folder") or ""))
            file = path if path.name == "config.json" else path / "config.json"
            if not os.path.isfile(file):  # Path.is_file raises where a name is too long
                raise UserError(f"{path} has no config.json; give a model folder, or paste the file's text")
            text = read_text(file)
        drawing, notes = read_config(text)
        return {"state": drawing.state(), "notes": notes}

    def run(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        """One forward of a drawing, in the sandbox."""
        with self._alone(job):
            if self._is_form(request):
                return self.form.run(request, job.say)
            batch, length = request.get("batch", 1), request.get("length", 128)
            return running.run(read_state(request.get("state")), batch, length, job.say)

    def export(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        """Export a drawing, and keep its zip file for a download."""
        say = job.say
        with self._alone(job):
            from pinfold.builder.export import export as exporting  # the converter imports transformers

            if self._is_form(request):
                done = self.form.export(request, self.output, say)
            else:
                done = exporting.export(read_state(request.get("state")), self.output, say)
            job.written = True
            folder = Path(done["folder"])
            running.step(say, "zip", f"{folder.name}.zip")
            identity = secrets.token_urlsafe(16)
            path = Path(self._zips.name, f"{identity}.zip")
            size = exporting.zipped(folder, path)
            self._keep(identity, path, f"{folder.name}.zip")
            running.step(say, "zip", f"{size:,} bytes", "done")
            if self.shared:
                shutil.rmtree(folder, ignore_errors=True)
                done["folder"] = folder.name  # where a user unpacks it
            command = f"pinfold push {shlex.quote(done['folder'])}"
            return {
                "event": "result",
                **done,
                "download": f"/api/download/{identity}",
                "bytes": size,
                "command": command,
            }

    def compare(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        """Compare kinds of attention; between two measurements it can be cancelled.

        Raises:
            UserError: settings that cannot be compared, or it took too long.
        """
        from pinfold.builder.attention.compare import compare

        settings = compared(request)
        deadline = time.monotonic() + SECONDS

        def progress(done: int, steps: int, what: str) -> None:
            if time.monotonic() > deadline:
                raise UserError(f"the comparison took more than {SECONDS} s; use shorter rows, or pinfold compare")
            state = "done" if done == steps else "doing"
            running.step(job.say, "compare", what, state, share=done / steps)

        with self._alone(job):
            return {"event": "result", **compare(settings, progress)}

    def cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to POST /api/cancel. Where it is shared, a job ends with its own connection alone."""
        return {"cancelled": False} if self.shared else self.end()

    def end(self, job: Job | None = None) -> dict[str, Any]:
        """End this job, or the one that runs: its process at once, else before its next step."""
        runs = self._running
        if runs is None or job not in (None, runs):
            return {"cancelled": False}
        runs.cancelled.set()
        fence.end_all()
        return {"cancelled": True}

    def download(self, identity: str) -> tuple[Path, str]:
        """The zip file of an export, and what it is called.

        Raises:
            UserError: it is not kept any more.
        """
        if identity not in self._downloads:
            raise UserError(f"this download is gone; the last {KEPT} exports are kept, export again")
        return self._downloads[identity]

    def _is_form(self, request: dict[str, Any]) -> bool:
        state = request.get("state")
        return self.form is not None and isinstance(state, dict) and state.get("architecture") == "folder"

    def _keep(self, identity: str, path: Path, name: str) -> None:
        self._downloads[identity] = (path, name)
        for old in list(self._downloads)[:-KEPT]:
            self._downloads.pop(old)[0].unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self, job: Job) -> Iterator[None]:
        """
        Raises:
            BusyError: another job runs. CancelledError: this one was ended.
        """
        if not self._lock.acquire(blocking=False):
            raise BusyError("another run or export is under way; wait for it, or cancel it")
        try:
            self._running = job
            imported()
            yield
        except Exception:  # a process that was ended while something is read from it
            if job.cancelled.is_set() and not job.written:
                raise CancelledError(CANCELLED) from None
            raise
        finally:
            self._running = None
            self._lock.release()


@functools.cache
def imported() -> None:
    """Import transformers whole, before two threads meet in the middle of it."""
    with _IMPORTING:
        importlib.import_module("torch")
        assert importlib.import_module("transformers").__all__


def compared(request: dict[str, Any]) -> Settings:
    """
    Raises:
        UserError: the request has a key that settings do not have, or a list of something else.
    """
    known = {each.name for each in dataclasses.fields(Settings)}
    if other := sorted(set(request) - known):
        raise UserError(f"a comparison has no setting {other[0][:60]!r}; it has {', '.join(sorted(known))}")
    values = dict(request)
    for name in ("kinds", "lengths"):
        value = values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, (str, int)) for each in value):
            raise UserError(f"{name} is not a list of {'words' if name == 'kinds' else 'numbers'}; give one")
        values[name] = tuple(value)
    if not isinstance(values.get("measure", True), bool):
        raise UserError("measure is not true or false; give one of them")
    return Settings(**values)


def read_text(path: Path) -> str:
    """
    Raises:
        UserError: it is not UTF-8, or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
