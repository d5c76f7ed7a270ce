"""The explorer as a page, in a browser: a person moves, draws, uploads, and sees what comes of it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from singan_core import sample_image, save_image
from tests.browser.conftest import ROOT, served

NOTEBOOK = ROOT / "singan_core" / "templates" / "explorer.ipynb"


@pytest.fixture(scope="module")
def address(browser, own_folders, tmp_path_factory) -> Iterator[str]:
    pytest.importorskip("voila")
    folder = tmp_path_factory.mktemp("voila")
    with served("voila", str(NOTEBOOK), folder=folder, log=folder / "voila.log", **own_folders) as url:
        yield url


@pytest.fixture
def page(address: str, open_page: Callable):
    page = open_page(address)
    page.wait_for_selector("text=drawn in")
    return page


# A picture's address is withdrawn once it shows the next one: then the next one is read.
CONTENT_OF_LAST_PICTURE = """async () => {
    for (let attempt = 1; ; attempt++) {
        const pictures = document.querySelectorAll('img.widget-image');
        const address = pictures[pictures.length - 1].src;
        try {
            return Array.from(new Uint8Array(await (await fetch(address)).arrayBuffer()));
        } catch (error) {
            if (attempt === 50) throw error;
            await new Promise(resolve => setTimeout(resolve, 100));
        }
    }
}"""


def after(page) -> str:
    """A fingerprint of the last of the pictures."""
    return hashlib.sha256(bytes(page.evaluate(CONTENT_OF_LAST_PICTURE))).hexdigest()


def wait_for_another(page, before: str) -> None:
    for _ in range(600):
        if after(page) != before:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the picture did not change")


def wait_for_canvas(page) -> None:
    page.wait_for_function(
        """() => { const canvas = document.querySelector('canvas');
        return canvas && canvas.getContext('2d').getImageData(5, canvas.height - 5, 1, 1).data[3] > 0; }"""
    )


def choose(page, description: str, option: str) -> None:
    page.locator(".widget-dropdown", has_text=description).locator("select").select_option(option)


def upload(page, file: Path) -> None:
    """Choose a file, as the browser's dialogue does; its field is not on the page."""
    with page.expect_file_chooser() as dialogue:
        page.get_by_role("button", name="Upload").click()
    dialogue.value.set_files(file)


def draw(page, *places: tuple[float, float]) -> None:
    """Draw with the mouse through places of the canvas, as shares of its sides."""
    box = page.locator("canvas").first.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def test_the_page_shows_the_input_and_the_result(page, screenshot):
    wait_for_canvas(page)
    assert page.locator("img.widget-image").count() == 2
    screenshot(page, "loaded")


@pytest.mark.parametrize(
    "text", ["first level that redraws", "mask is widened", "edge of the mask", "Draw over what is to be"]
)
def test_the_page_says_what_a_control_means(page, text):
    assert page.get_by_title(text).count() >= 1


def test_moving_the_slider_changes_the_picture(page, screenshot):
    before = after(page)
    page.locator(".widget-hslider", has_text="level").locator(".noUi-handle").press("ArrowRight")
    wait_for_another(page, before)
    page.wait_for_selector("text=drawn in")
    assert page.locator("text=What level 3 is given, from level 2").count() == 1
    screenshot(page, "moved")


def test_a_mask_that_is_drawn_is_seen_and_redrawn(page, screenshot):
    wait_for_canvas(page)
    before = after(page)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("text=Nothing is marked")
    wait_for_another(page, before)
    before = after(page)
    draw(page, (0.3, 0.7), (0.6, 0.75))
    wait_for_another(page, before)
    page.wait_for_selector("text=drawn in")
    screenshot(page, "marked")


def test_after_a_sample_the_pen_draws_again(page, screenshot):
    wait_for_canvas(page)
    choose(page, "task", "sample")
    page.wait_for_selector("text=The photograph, mountains")
    page.wait_for_selector("text=What level 0 is given, from nothing")
    choose(page, "task", "edit")
    page.wait_for_selector("text=What level 2 is given")
    before = after(page)
    draw(page, (0.3, 0.7), (0.6, 0.75))
    wait_for_another(page, before)
    screenshot(page, "drawn")


def test_a_line_in_colour_is_painted(page, screenshot):
    wait_for_canvas(page)
    choose(page, "task", "paint")
    page.wait_for_selector("text=level 2 is given")
    before = after(page)
    draw(page, (0.2, 0.2), (0.5, 0.4))
    wait_for_another(page, before)
    screenshot(page, "painted")


def test_a_bad_upload_gives_a_message_and_the_page_lives_on(page, screenshot, tmp_path: Path):
    broken = tmp_path / "holiday.png"
    broken.write_bytes(b"no picture at all")
    upload(page, broken)
    page.wait_for_selector("text=holiday.png is empty, cut short or none of")
    screenshot(page, "refused")
    before = after(page)
    page.locator(".widget-hslider", has_text="level").locator(".noUi-handle").press("ArrowRight")
    wait_for_another(page, before)


def test_an_uploaded_photograph_can_be_trained_and_the_training_stopped(page, screenshot, tmp_path: Path):
    own = tmp_path / "flower.png"
    save_image(sample_image("dahlia").flip(dims=[3]), own)  # no pyramid of a mirror image is shipped
    upload(page, own)
    page.wait_for_selector("text=There is no trained pyramid of 'flower' yet")
    page.get_by_role("button", name="Train").click()
    page.wait_for_selector("text=s left")
    screenshot(page, "training")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("text=The training was stopped.")
    choose(page, "picture", "mountains")
    page.wait_for_selector("text=drawn in")
    choose(page, "picture", "flower (yours)")
    page.wait_for_selector("text=There is no trained pyramid of 'flower' yet")
