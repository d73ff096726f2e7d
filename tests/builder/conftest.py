"""One server of the builder for all tests of its page."""

from types import SimpleNamespace

import pytest
from helpers.builder.page import BuilderServer


def pytest_addoption(parser):
    parser.addoption("--builder-url", help="test the page at this address, which is already served")


@pytest.fixture(scope="session")
def server(tmp_path_factory, request):
    if url := request.config.getoption("--builder-url", default=None):
        yield SimpleNamespace(url=url)
        return
    with BuilderServer(tmp_path_factory.mktemp("builder") / "output") as running:
        yield running
