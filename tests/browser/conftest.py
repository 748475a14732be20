"""A headless Chromium for the tests of this folder; they skip, with the reason, where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""Debian's, and what others call it; Playwright's own download is never used."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser (a `playwright.sync_api.Browser`)."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: run `make setup`")
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        # A package of the system, which `make` does not install; `.ci/run` does, and there these tests run.
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox does not start as root, and shared memory is small in containers.
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=120_000
        )
        yield browser
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need a browser: `make test` leaves them out."""
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
