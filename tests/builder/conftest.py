"""One server of the builder and one browser for all tests of its page."""

import pytest
from helpers.builder.page import CHROMIUM, BuilderServer


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with BuilderServer(tmp_path_factory.mktemp("builder") / "output") as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
