"""The survey in a browser: pictures that come, disappear and are judged, and the file of answers."""

from collections.abc import Callable

import nbformat
import pytest

from singan_core.survey import read_answers
from tests.browser.conftest import served
from tests.browser.test_explorer_page import after, wait_for_another

CELL = """
import torch
from singan_core.survey import Survey, plan_trials
from singan_core.widgets import SurveyPanel

pictures = torch.linspace(-1, 1, 4 * 3 * 30 * 40).reshape(4, 3, 30, 40)
trials = plan_trials({"ramp": pictures[:2]}, {"made": {"ramp": pictures[2:]}}, kind="paired", count=2)
SurveyPanel(Survey(trials, rater="tester", exposure=1.0), "answers").box
"""


def test_a_rater_sees_answers_and_leaves_a_file(browser, own_folders, tmp_path, open_page: Callable, screenshot):
    pytest.importorskip("voila")
    notebook = tmp_path / "survey.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)]), notebook)
    with served("voila", str(notebook), folder=tmp_path, log=tmp_path / "voila.log", **own_folders) as address:
        page = open_page(address)
        page.wait_for_selector("text=2 trials, 1 s each")
        covered = after(page)
        assert page.get_by_role("button", name="Left").is_disabled(), "nothing to judge yet"
        for number in (1, 2):
            page.get_by_role("button", name="Show").click()
            page.wait_for_selector(f"text=Trial {number} of 2")
            wait_for_another(page, covered)
            screenshot(page, f"trial-{number}")
            page.wait_for_timeout(1500)
            assert after(page) == covered, "its time is over"
            page.get_by_role("button", name="Left").click()
        page.wait_for_selector("text=Thank you")
        screenshot(page, "thanks")
    answers = read_answers(list((tmp_path / "answers").glob("*.csv")))
    assert [each.answer for each in answers] == ["left", "left"] and {each.rater for each in answers} == {"tester"}
