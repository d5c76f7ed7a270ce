"""The widgets, without a browser: what the mouse draws is in the image, and what a button does is on the screen."""

import ast
import io
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import singan_core
from singan_core import SinGANError, save_image, to_array, widgets
from singan_core.drawing import INK, Drawing
from singan_core.explorer import Explorer
from singan_core.plots import show_images
from singan_core.survey import Survey, plan_trials, read_answers
from singan_core.widgets import ExplorerPanel, SketchPad, SurveyPanel, as_rgb

WHITE = torch.ones(1, 3, 40, 60)
COORDINATE = st.floats(-20, 80)


class FakeCanvas(ipywidgets.Box):
    """Stands in for `ipycanvas.Canvas`: keeps what it is told, and the callbacks, for a test to call as a mouse would.

    The names are those of ipycanvas; one that does not exist there must not be added here.
    """

    EVENTS = ("mouse_down", "mouse_move", "mouse_up", "mouse_out")
    EVENTS += ("touch_start", "touch_move", "touch_end", "touch_cancel", "client_ready")

    def __init__(self):
        super().__init__()
        self.on, self.lines, self.pictures = {}, [], []

    def __getattr__(self, name):
        if name.removeprefix("on_") in self.EVENTS:
            return lambda callback: self.on.update({name.removeprefix("on_"): callback})
        raise AttributeError(name)

    def stroke_line(self, *ends):
        self.lines.append(ends)

    def put_image_data(self, image_data, x, y):
        assert (x, y) == (0, 0)
        self.pictures.append(image_data)


@pytest.fixture
def pad():
    """A pad on a white sheet, whose painter shows the drawing itself."""
    return SketchPad(WHITE, lambda drawn: show_images(drawn), size=(40, 60), line=4, canvas=FakeCanvas())


def dark(image: torch.Tensor) -> set[tuple[int, int]]:
    """Columns and rows of the pixels that have ink."""
    rows, columns = (to_array(image)[..., 0] < 128).nonzero()
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


# -- the drawing


def test_a_drawing_starts_from_its_sketch(picture):
    # Half a step of 8 bits.
    assert (Drawing(picture, line=2).image() - picture).abs().max() <= 1 / 255 + 1e-6


def test_a_stroke_is_ink_along_its_points_and_nowhere_else():
    drawing = Drawing(WHITE, line=4)
    drawing.stroke([(10, 20), (50, 20)])
    inked = dark(drawing.image())
    assert {(x, 20) for x in range(10, 51)} <= inked
    assert all(7 <= x <= 53 and 17 <= y <= 23 for x, y in inked)
    assert drawing.array()[20, 30].tolist() == list(INK)


def test_a_single_point_is_a_dot():
    drawing = Drawing(WHITE, line=4)
    drawing.stroke([(30, 20)])
    assert {(30, 20)} <= dark(drawing.image()) <= {(x, y) for x in range(27, 34) for y in range(17, 24)}


def test_a_cleared_drawing_is_white(picture):
    drawing = Drawing(picture, line=2)
    drawing.clear()
    assert torch.equal(drawing.image(), torch.ones_like(picture))


@given(points=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=6), line=st.integers(1, 9))
@settings(max_examples=40)
def test_any_stroke_leaves_an_image_of_white_and_ink(points, line):
    drawing = Drawing(WHITE, line)
    drawing.stroke(points)
    assert drawing.image().shape == WHITE.shape
    assert set(np.unique(drawing.array())) <= {INK[0], 255}


# -- the pad


def test_what_the_mouse_draws_is_on_the_screen_and_in_the_image(pad):
    pad.canvas.on["mouse_move"](5.0, 5.0)  # not pressed: nothing is drawn
    pad.canvas.on["mouse_down"](10.0, 20.0)
    pad.canvas.on["mouse_move"](30.0, 20.0)
    pad.canvas.on["mouse_up"](30.0, 20.0)
    pad.canvas.on["mouse_move"](55.0, 35.0)
    assert pad.canvas.lines == [(10.0, 20.0, 10.0, 20.0), (10.0, 20.0, 30.0, 20.0)]
    inked = dark(pad.image())
    assert {(x, 20) for x in range(10, 31)} <= inked
    assert not inked & {(5, 5), (50, 33), (55, 35)}


def test_a_line_ends_where_the_mouse_leaves_the_pad(pad):
    pad.canvas.on["mouse_down"](10.0, 20.0)
    pad.canvas.on["mouse_out"](-1.0, 20.0)
    pad.canvas.on["mouse_move"](50.0, 20.0)
    assert len(pad.canvas.lines) == 1


def test_a_finger_draws_as_the_mouse_does(pad):
    pad.canvas.on["touch_start"]([(10.0, 20.0)])
    pad.canvas.on["touch_move"]([(30.0, 20.0)])
    pad.canvas.on["touch_end"]([])
    pad.canvas.on["touch_move"]([(50.0, 20.0)])
    assert pad.canvas.lines == [(10.0, 20.0, 10.0, 20.0), (10.0, 20.0, 30.0, 20.0)]


def test_the_pad_begins_with_the_sketch_at_its_own_size(picture):
    pad = SketchPad(picture, lambda drawn: show_images(drawn), size=(72, 96), canvas=FakeCanvas())
    assert pad.image().shape == (1, 3, 72, 96)
    (shown,) = pad.canvas.pictures
    assert np.array_equal(shown, to_array(pad.image()))


def test_a_page_that_is_opened_anew_shows_the_drawing(pad):
    pad.canvas.on["mouse_down"](10.0, 20.0)
    pad.canvas.on["client_ready"]()
    assert np.array_equal(pad.canvas.pictures[-1], to_array(pad.image()))
    assert (pad.canvas.stroke_style, pad.canvas.line_width, pad.canvas.line_cap) == ("#262626", 4, "round")


def test_the_buttons_clear_and_paint(pad):
    canvas, buttons, result = pad.box.children
    clear, paint = buttons.children
    before = Image.open(io.BytesIO(result.value))
    canvas.on["mouse_down"](10.0, 20.0)
    paint.click()
    after = Image.open(io.BytesIO(result.value))
    assert np.array(before).min() == 255 and np.array(after).min() < 60
    clear.click()
    assert torch.equal(pad.image(), WHITE) and (canvas.pictures[-1] == 255).all()
    canvas.on["mouse_up"](10.0, 20.0)


def test_a_palette_has_a_button_for_each_colour():
    palette = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])
    options = {"size": (40, 60), "line": 4, "palette": palette, "canvas": FakeCanvas()}
    pad = SketchPad(WHITE, lambda drawn: show_images(drawn), **options)
    _, pens, buttons, _ = pad.box.children
    assert [pen.style.button_color for pen in pens.children] == ["#ff0000", "#0000ff"]
    assert [button.description for button in buttons.children] == ["Clear", "Paint"]
    for row, pen in ((10, None), (30, pens.children[1])):
        if pen is not None:
            pen.click()
        pad.canvas.on["mouse_down"](10.0, row)
        pad.canvas.on["mouse_move"](50.0, row)
        pad.canvas.on["mouse_up"](50.0, row)
    assert pad.canvas.stroke_style == "#0000ff"
    assert pad.drawing.array()[[10, 30], 30].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_without_ipycanvas_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipycanvas", None)
    with pytest.raises(SinGANError, match="pip install ipycanvas"):
        SketchPad(WHITE, lambda drawn: show_images(drawn), size=(40, 60))


def test_the_real_canvas_takes_what_the_pad_sends():
    pytest.importorskip("ipycanvas")
    pad = SketchPad(WHITE, lambda drawn: show_images(drawn), size=(40, 60), line=4)
    assert (pad.canvas.width, pad.canvas.height) == (60, 40)
    for event in ("client_ready", "mouse_down", "mouse_move", "mouse_up"):
        pad.canvas._handle_frontend_event(None, {"event": event, "x": 10, "y": 20}, [])
    assert (10, 20) in dark(pad.image())


def test_a_page_that_opens_later_is_told_which_canvas_is_drawn_on():
    pytest.importorskip("ipycanvas")
    pad = SketchPad(WHITE, lambda drawn: show_images(drawn), size=(40, 60), line=4)
    manager, sent = pad.canvas._canvas_manager, []
    manager._send_custom = lambda command, buffers=(): sent.append(command)
    try:
        pad.canvas._handle_frontend_event(None, {"event": "client_ready"}, [])
    finally:
        del manager._send_custom
    assert sent[0][1] == [f"IPY_MODEL_{pad.canvas.model_id}"]  # before anything is drawn


# -- the panel of the explorer


@pytest.fixture
def panel(model, picture, tmp_path):
    """A panel with the pyramid of a small picture, and one line marked."""
    made = ExplorerPanel("mountains", profile="smoke", store=tmp_path / "runs", folder=tmp_path, canvas=FakeCanvas())
    explorer = Explorer(picture, "own", profile="smoke", store=tmp_path / "runs")
    explorer.use(model)
    explorer.stroke("edit", [(0.3, 0.5), (0.6, 0.5)], "mark", (0, 0, 0), 0.1)
    made.open(explorer)
    made.wait()
    return made


def test_the_panel_shows_the_result_of_its_settings(panel):
    assert "drawn in" in panel.message.value
    shown = np.array(Image.open(io.BytesIO(panel.after.value)))
    assert np.array_equal(shown, to_array(panel.explorer.after(panel.settings())))


def test_moving_a_slider_draws_anew(panel):
    before = panel.after.value
    panel.scale.value = panel.scale.max
    panel.wait()
    assert panel.after.value != before and "level 2" in panel.given_title.value


def test_what_is_drawn_in_the_panel_is_in_the_input_and_the_result(panel):
    before, mask = panel.after.value, panel.explorer.input("edit").mask.image()
    panel.canvas.on["mouse_down"](100.0, 30.0)
    panel.canvas.on["mouse_move"](200.0, 30.0)
    assert panel.after.value == before
    panel.canvas.on["mouse_up"](200.0, 30.0)
    panel.wait()
    assert panel.after.value != before
    assert (panel.explorer.input("edit").mask.image() > mask).any()


def test_an_error_in_a_callback_is_shown_and_the_panel_lives_on(panel, monkeypatch):
    monkeypatch.setattr(Explorer, "after", lambda *_: 1 / 0)
    panel.seed.value = 5
    panel.wait()
    assert "ZeroDivisionError: division by zero" in panel.message.value
    monkeypatch.undo()
    panel.clear_button.click()
    panel.wait()
    assert "Nothing is marked" in panel.message.value
    panel.task.value = "sample"
    panel.wait()
    assert "drawn in" in panel.message.value


def test_where_nothing_is_marked_no_older_result_is_shown(panel):
    before = panel.after.value
    panel.clear_button.click()
    panel.wait()
    for shown in (panel.given, panel.after):
        assert shown.value != before
        assert np.ptp(np.array(Image.open(io.BytesIO(shown.value)))) == 0
    assert "Nothing is marked yet" in panel.message.value and "#B00020" not in panel.message.value
    draw_a_line(panel)
    assert panel.after.value != before and "drawn in" in panel.message.value


def test_after_a_sample_every_other_task_can_be_drawn_on(panel):
    for task in ("edit", "harmonize", "paint"):
        panel.task.value = "sample"
        panel.wait()
        assert panel.before_title.value == "The photograph, own" and panel.tool.disabled
        assert panel.tool.options and panel.tool.value is not None  # a page keeps old buttons where there are none
        panel.task.value = task
        panel.wait()
        before = panel.explorer.shown(task, (40, 60))
        draw_a_line(panel)
        assert (panel.explorer.shown(task, (40, 60)) != before).any()


def test_a_line_on_a_sample_is_refused_with_a_reason(panel):
    panel.task.value = "sample"
    panel.wait()
    panel.canvas.on["mouse_down"](100.0, 30.0)
    assert "A sample takes no drawing" in panel.message.value


def test_an_upload_joins_the_list_and_is_found_there_as_it_was_left(panel, picture, tmp_path):
    save_image(picture, tmp_path / "cat.png")
    content = memoryview((tmp_path / "cat.png").read_bytes())
    file = {"name": "cat.png", "type": "", "size": len(content), "content": content}
    panel.upload.value = (file | {"last_modified": datetime(2026, 1, 1, tzinfo=UTC)},)
    uploaded = panel.explorer
    assert panel.photograph.value == "cat (yours)" and "cat" in panel.photograph.options
    panel.photograph.value = "mountains"
    assert panel.explorer.name == "mountains" and panel.explorer.bundled
    panel.photograph.value = "cat (yours)"
    assert panel.explorer is uploaded


def draw_a_line(panel) -> None:
    panel.canvas.on["mouse_down"](100.0, 30.0)
    panel.canvas.on["mouse_move"](200.0, 30.0)
    panel.canvas.on["mouse_up"](200.0, 30.0)
    panel.wait()


def test_a_bad_upload_is_told_and_changes_nothing(panel):
    explorer = panel.explorer
    file = {"name": "holiday<b>.png", "type": "", "size": 2, "content": memoryview(b"no")}
    panel.upload.value = (file | {"last_modified": datetime(2026, 1, 1, tzinfo=UTC)},)
    assert "holiday&lt;b&gt;.png is empty" in panel.message.value
    assert panel.explorer is explorer and panel.upload.value == ()


def test_a_photograph_without_a_pyramid_can_be_trained(panel):
    panel.photograph.value = "peaks"
    assert panel.before_title.value == "Before, peaks: draw here"
    assert "no trained pyramid" in panel.message.value and not panel.train_button.disabled
    panel.train_button.click()
    training = panel.training
    assert training is None or training.wait(120)
    panel.wait()
    assert panel.explorer.model is not None and panel.train_button.disabled


def test_the_panel_saves_what_it_shows(panel, tmp_path):
    panel.save_button.click()
    panel.wait()
    (saved,) = tmp_path.glob("own-edit-*.png")
    assert saved.name in panel.message.value
    assert np.array_equal(np.array(Image.open(saved)), np.array(Image.open(io.BytesIO(panel.after.value))))


@pytest.mark.parametrize(
    ("text", "colour"), [("#262626", (38, 38, 38)), ("#fff", (255, 255, 255)), ("red", (255, 0, 0))]
)
def test_colours_of_the_web_are_understood(text, colour):
    assert as_rgb(text) == colour


def test_no_other_module_imports_ipywidgets():
    folder = Path(singan_core.__file__).parent
    users = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any((name or "").split(".")[0] in ("ipywidgets", "ipycanvas") for name in names):
                users.add(path.name)
    assert users == {"widgets.py"}


# -- the panel of the survey


class FakeTimer:
    """Timers that ring when a test lets them."""

    def __init__(self):
        self.waiting = []

    def __call__(self, seconds, function):
        self.waiting.append((seconds, function))
        return self

    def start(self):
        pass

    def ring(self):
        self.waiting.pop(0)[1]()


def shown_colours(panel) -> list[list[int]]:
    return [np.array(Image.open(io.BytesIO(each.value)))[0, 0].tolist() for each in panel.pictures]


@pytest.fixture
def survey_panel(tmp_path):
    """A panel with three pairs: white photographs, black samples."""
    real, fake = ({"hills": torch.full((1, 3, 6, 9), value)} for value in (1.0, -1.0))
    survey = Survey(plan_trials(real, {"level 0": fake}, kind="paired", count=3), rater="someone")
    return SurveyPanel(survey, tmp_path, height=12, timer=FakeTimer())


GRAY = [128] * 3


def test_the_pictures_appear_on_a_click_and_disappear_in_time(survey_panel):
    assert shown_colours(survey_panel) == [GRAY, GRAY] and all(b.disabled for b in survey_panel.answer_buttons.values())
    survey_panel.next_button.click()
    sides = [[255] * 3, [0] * 3]
    assert shown_colours(survey_panel) == (sides if survey_panel.survey.current.truth == "left" else sides[::-1])
    assert survey_panel.next_button.disabled and survey_panel.timer.waiting[0][0] == 1.0
    survey_panel.timer.ring()
    assert shown_colours(survey_panel) == [GRAY, GRAY]
    assert not survey_panel.answer_buttons["left"].disabled


def test_an_old_timer_does_not_cover_the_next_trial(survey_panel):
    survey_panel.next_button.click()
    survey_panel.answer_buttons["left"].click()
    survey_panel.next_button.click()
    survey_panel.timer.ring()
    assert GRAY not in shown_colours(survey_panel)
    survey_panel.timer.ring()
    assert shown_colours(survey_panel) == [GRAY, GRAY]


def test_the_answers_are_saved_after_the_last_trial(survey_panel, tmp_path):
    for choice in ("left", "right", "left"):
        survey_panel.next_button.click()
        survey_panel.answer_buttons[choice].click()
    assert survey_panel.next_button.disabled and "Thank you" in survey_panel.message.value
    (saved,) = tmp_path.glob("survey-paired-someone.csv")
    assert [each.answer for each in read_answers([saved])] == ["left", "right", "left"]


def test_every_answer_is_saved_at_once(survey_panel, tmp_path):
    assert list(tmp_path.iterdir()) == []
    for number in (1, 2, 3):
        survey_panel.next_button.click()
        survey_panel.answer_buttons["left"].click()
        assert read_answers(tmp_path / "survey-paired-someone.csv") == survey_panel.survey.answers
        assert len(survey_panel.survey.answers) == number and survey_panel.save_button.disabled


def test_answers_that_cannot_be_saved_are_kept_and_saved_later(survey_panel, tmp_path):
    folder = survey_panel.folder = tmp_path / "answers"
    folder.write_text("a file where the folder should be")
    for number in (1, 2, 3):
        survey_panel.next_button.click()
        assert survey_panel.save_button.disabled
        survey_panel.answer_buttons["left"].click()
        assert "Cannot write" in survey_panel.message.value and "are kept" in survey_panel.message.value
        assert not survey_panel.save_button.disabled and survey_panel.next_button.disabled == (number == 3)
    survey_panel.save_button.click()
    assert "Cannot write" in survey_panel.message.value and not survey_panel.save_button.disabled
    folder.unlink()
    survey_panel.save_button.click()
    assert "Thank you" in survey_panel.message.value and survey_panel.save_button.disabled
    assert read_answers(folder / "survey-paired-someone.csv") == survey_panel.survey.answers


def test_the_next_answer_saves_those_before(survey_panel, tmp_path):
    folder = survey_panel.folder = tmp_path / "answers"
    folder.write_text("a file where the folder should be")
    survey_panel.next_button.click()
    survey_panel.answer_buttons["left"].click()
    folder.unlink()
    survey_panel.next_button.click()
    survey_panel.answer_buttons["right"].click()
    assert "1 trials left" in survey_panel.message.value
    assert [each.answer for each in read_answers(folder / "survey-paired-someone.csv")] == ["left", "right"]


def test_a_panel_refuses_a_folder_for_which_the_answers_would_be_lost(survey_panel, tmp_path):
    survey = survey_panel.survey
    (tmp_path / "file").write_text("")
    with pytest.raises(SinGANError, match="Cannot write to the folder"):
        SurveyPanel(survey, tmp_path / "file")
    survey_panel.next_button.click()
    survey_panel.answer_buttons["left"].click()
    with pytest.raises(SinGANError, match="has the answers of another survey"):
        SurveyPanel(Survey(survey.trials, rater=survey.rater), tmp_path)
    assert len(SurveyPanel(survey, tmp_path).survey.answers) == 1, "the same survey goes on"


@pytest.mark.parametrize("height", [0, -3, 2.5, "240", 10**6])
def test_a_survey_panel_refuses_heights_that_are_none(survey_panel, tmp_path, height):
    with pytest.raises(SinGANError, match="height must be"):
        SurveyPanel(survey_panel.survey, tmp_path, height=height)


def test_the_explorer_begins_with_a_photograph_not_with_an_input_of_a_task(tmp_path):
    with pytest.raises(SinGANError, match=r"'edit_mountains' is an input of a task; photographs are .*mountains"):
        ExplorerPanel("edit_mountains", profile="smoke", store=tmp_path / "runs", folder=tmp_path, canvas=FakeCanvas())


def test_the_time_of_an_answer_counts_from_the_pictures_appearance(survey_panel, monkeypatch):
    now = [0.0]
    survey_panel.survey.clock = lambda: now[0]

    def slow_png(array):
        now[0] += 5
        return png(array)

    png = widgets._png
    monkeypatch.setattr(widgets, "_png", slow_png)
    survey_panel.next_button.click()
    now[0] += 0.75
    survey_panel.answer_buttons["left"].click()
    assert survey_panel.survey.answers[0].seconds == 0.75


def test_an_error_of_the_survey_is_told_in_its_panel(survey_panel, monkeypatch):
    monkeypatch.setattr(Survey, "show", lambda _: 1 / 0)
    survey_panel.next_button.click()
    assert "ZeroDivisionError" in survey_panel.message.value
    monkeypatch.undo()
    survey_panel.next_button.click()
    assert "Trial 1 of 3" in survey_panel.message.value


@pytest.mark.parametrize("exposure", [float("inf"), 1e300, threading.TIMEOUT_MAX])
def test_single_pictures_stay_where_there_is_no_limit_or_none_that_a_thread_can_wait_for(tmp_path, exposure):
    pictures = {"hills": torch.ones(1, 3, 6, 9)}
    trials = plan_trials(pictures, {"level 0": pictures}, kind="unpaired", count=2)
    panel = SurveyPanel(Survey(trials, exposure=exposure), tmp_path, height=12, timer=FakeTimer())
    panel.next_button.click()
    assert panel.timer.waiting == [] and shown_colours(panel) == [[255] * 3]
    assert list(panel.answer_buttons) == ["real", "fake"]
