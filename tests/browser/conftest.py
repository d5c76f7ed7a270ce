"""Servers and a browser for the tests: real pages in headless Chromium, and screenshots of them in build/browser."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "browser"
PATIENCE = 240_000
"""Milliseconds: a kernel has to start, and the machine may be busy."""

# No sandbox, because Chromium refuses to start one as root; no talk with servers of its maker.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


def chromium() -> str | None:
    """The browser's executable: Debian's, else one on the PATH."""
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: make test-browser")
    if (executable := chromium()) is None:
        missing = "There is no Chromium. Debian, Ubuntu: sudo apt install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """open_page(url): a new tab, of which a last screenshot is kept, for tests that fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)

    def open_at(url: str):
        page = context.new_page()
        page.goto(url, timeout=PATIENCE)
        return page

    yield open_at
    for page in context.pages:
        keep_screenshot(page, request, "end")
    context.close()


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Callable:
    """screenshot(page, name): keep what the page looks like in build/browser."""
    return lambda page, name: keep_screenshot(page, request, name)


def keep_screenshot(page, request: pytest.FixtureRequest, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{request.node.name.split('[')[0]}-{name}.png")


@contextlib.contextmanager
def served(module: str, *arguments: str, folder: Path, log: Path, **variables: str) -> Iterator[str]:
    """The address of a server: python -m <module> <arguments> --port <a free one>, ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", module, *arguments, "--no-browser", f"--port={port}"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            address = f"http://localhost:{port}/"
            wait_for(address, server, log)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE / 1000
    # a page of Voila starts a kernel; any answer, also "not found", tells that the server is there
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address + "no-such-page", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"The server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The profile with trained pictures, and folders of the tests' own."""
    folder = tmp_path_factory.mktemp("served")
    names = {"SINGAN_RUNS": "runs", "SINGAN_FIGURES": "figures", "JUPYTERLAB_SETTINGS_DIR": "settings"}
    return {name: str(folder / path) for name, path in names.items()} | {"SINGAN_PROFILE": "laptop"}
