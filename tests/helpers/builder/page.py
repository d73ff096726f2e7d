"""The builder's server as a process, and its page in a browser as people use it."""

import contextlib
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from helpers.processes import ROOT

CHROMIUM = shutil.which("chromium")
REFUSED = ("status of 400",)  # Chromium reports a refused request as an error
GONE = ("ERR_", "Failed to load")
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1400, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1400, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 380, "height": 750}, "has_touch": True},
}


def needs_a_browser() -> None:
    """Skip a module where something is missing."""
    packages = ("playwright", "axe_playwright_python", "starlette", "uvicorn")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if CHROMIUM is None:
        missing.append("chromium on the PATH")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}", allow_module_level=True)


class BuilderServer:
    """`pinfold builder` on a free port, as a user starts it."""

    def __init__(self, output: Path, port: int = 0):
        command = [sys.executable, "-m", "pinfold", "builder", "--output", str(output), "--port", str(port)]
        self.output = output
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT)
        greeting = self.process.stdout.readline()
        assert " on http://" in greeting, self._read_log()
        self.url = greeting.split(" on ")[1].split(";")[0]
        self.port = int(self.url.rpartition(":")[2])
        urllib.request.urlopen(f"{self.url}/api/schema", timeout=120).read()  # torch is imported by then

    def _read_log(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def __enter__(self) -> "BuilderServer":
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.stdout.close()
        self.process.wait(timeout=30)
        self.log.close()


@contextlib.contextmanager
def opened(browser, server: BuilderServer, fragment: str = "", expected: tuple[str, ...] = (), **options):
    """A page that fails the test when something is wrong in its console.

    Args:
        fragment: the link's end. expected: parts of messages that belong to the test, such as a refused request's.
    """
    context = browser.new_context(**{**LOOKS["light"], **options})
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
    page.set_default_timeout(20_000)
    try:
        page.goto(f"{server.url}/{fragment}")
        page.locator("#start button, #toolbar button").first.wait_for(state="attached")
        yield page
    finally:
        context.close()
    assert [each for each in problems if not any(part in each for part in expected)] == []


def open_preset(page, label: str = "BERT-tiny") -> None:
    page.locator(".preset", has_text=label).first.click()
    valid(page)


def valid(page) -> None:
    """Wait for fresh numbers, shapes too."""
    page.locator("#verdict", has_text="valid").wait_for()
    page.locator("#stack:not(.stale) .facts .shape:not(.stale)").first.wait_for()


def drawing(page) -> dict:
    """The drawing that the page holds."""
    return page.evaluate("async () => (await import('/builder.js')).drawing()")


def kinds(page) -> list[str]:
    return drawing(page)["config"]["attention_type"]


def said(page, text: str) -> None:
    """Wait until the live region says so."""
    page.get_by_role("status").filter(has_text=text).wait_for()


def focused(page, attribute: str) -> str | None:
    return page.evaluate("name => document.activeElement.getAttribute(name)", attribute)


def tab_to(page, selector: str, key: str = "Tab") -> None:
    """Press Tab, or Shift+Tab, until an element has the focus."""
    for _ in range(150):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {selector}")


def layer(number: int) -> str:
    """A row of the stack, from 1."""
    return f"#layers > li:nth-child({number})"


def violations(page) -> list:
    """What axe-core finds."""
    from axe_playwright_python.sync_playwright import Axe

    listed = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in listed]
