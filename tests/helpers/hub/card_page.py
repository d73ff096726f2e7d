"""A published card as somebody meets it: its page in a browser, and its example copied from there and run."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import clean_environment
from pinfold.card.snippet import printed

LOOKS = [("light", 1280), ("dark", 1280), ("light", 380), ("dark", 380)]


def copied_example_runs(url: str, repo: str, home: Path) -> str:
    """Look at the card in light and dark, wide and narrow; then copy its example, run it, and give what it shows."""
    for package in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium on the PATH")
    program = _copied(f"{url}/{repo}")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home.parent,
        env=clean_environment(home, HF_ENDPOINT=url, HF_HUB_DISABLE_IMPLICIT_TOKEN="1"),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    shown = [line for line in program.splitlines() if line.startswith("# ")]
    assert shown, "an example with its output"
    assert printed(done.stdout) == shown
    return program


def _copied(address: str) -> str:
    """What the copy button beside the card's own example puts on the clipboard."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    wrong, axe = [], Axe()

    def told(message) -> None:
        if getattr(message, "type", "error") == "error":
            wrong.append(str(message))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme, width in LOOKS:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": 800},
                permissions=["clipboard-read", "clipboard-write"],
            )  # fmt: skip
            page = context.new_page()
            page.on("console", told)
            page.on("pageerror", lambda error: told(error))
            page.goto(address)
            for picture in page.locator(".prose img").all():
                picture.scroll_into_view_if_needed()
                loaded = "picture => picture.decode().then(() => picture.naturalWidth > 0)"
                assert picture.evaluate(loaded), picture.get_attribute("src")
                assert picture.get_attribute("alt"), "a text alternative"
            assert page.locator(".prose img").count() >= 1, "the picture of the architecture"
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            wrong += [violation["id"] for violation in axe.run(page).response["violations"]]
            block = page.locator(".prose .code", has_text="from_pretrained")
            block.locator("button.copy").click()
            page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('from_pretrained')")
            found = page.evaluate("navigator.clipboard.readText()")
            assert found.strip() == block.locator("pre").inner_text().strip()
        browser.close()
    assert not wrong, wrong
    return found
