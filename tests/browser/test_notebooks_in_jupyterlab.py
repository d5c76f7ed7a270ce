"""The notebooks with widgets, run in JupyterLab itself: the widgets show, and answer."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT, served
from tests.browser.test_explorer_page import after, draw, wait_for_another

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: make test-browser")

IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
NAMES = ("06_sketch_to_paint", "13_injection_scale_explorer")


@pytest.fixture(scope="module")
def lab(browser, own_folders: dict[str, str], tmp_path_factory) -> Iterator[str]:
    pytest.importorskip("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    for name in NAMES:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    # All cells are on the page, not only those in view; no question about news.
    for file, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = Path(own_folders["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / f"{file}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    arguments = ("--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}")
    with served("jupyterlab", *arguments, folder=folder, log=folder / "lab.log", **own_folders) as url:
        yield url


@pytest.fixture
def run_all(lab: str, open_page: Callable) -> Callable:
    """run_all(name): the page of a notebook of which all cells have been run."""

    def run(name: str):
        page = open_page(f"{lab}lab/tree/{name}.ipynb?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        wait_until_idle(page)
        for _ in range(10):
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            if are_waiting(page):
                return page
        raise AssertionError("the cells did not run")

    return run


def are_waiting(page) -> bool:
    """Whether cells wait for the kernel. JupyterLab drops the command, silently, while it connects to the kernel."""
    with contextlib.suppress(playwright.TimeoutError):
        page.wait_for_selector(".jp-InputPrompt:has-text('[*]')", timeout=10_000)
        return True
    return False


def wait_until_idle(page) -> None:
    page.wait_for_selector(IDLE, state="attached")


def test_the_explorer_shows_in_its_notebook_and_answers(run_all, screenshot):
    page = run_all("13_injection_scale_explorer")
    page.wait_for_selector("text=drawn in")
    page.locator("canvas").first.scroll_into_view_if_needed()
    before = after(page)
    page.locator(".widget-hslider", has_text="level").locator(".noUi-handle").press("ArrowRight")
    wait_for_another(page, before)
    wait_until_idle(page)
    assert page.locator("text=Traceback (most recent call last)").count() == 0
    screenshot(page, "panel")


def test_the_sketch_pad_takes_a_line_and_paints_it(run_all, screenshot):
    page = run_all("06_sketch_to_paint")
    page.wait_for_selector("canvas")
    page.wait_for_selector("img.widget-image")
    page.locator("canvas").first.scroll_into_view_if_needed()
    before = after(page)
    screenshot(page, "before")
    draw(page, (0.1, 0.3), (0.5, 0.1), (0.9, 0.3))
    page.get_by_role("button", name="Paint", exact=True).click()
    wait_for_another(page, before)
    screenshot(page, "painted")
    assert page.locator("text=Traceback (most recent call last)").count() == 0
