"""Widgets of the notebooks: a pad to draw a sketch on, the panel of the injection-scale explorer, and that of a survey.

What a widget does works without a browser, in `drawing`, `explorer` and `survey`; the widgets only call it. No other
module imports ipywidgets; ipycanvas is imported when a canvas is made.
"""

import contextlib
import functools
import html
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from singan_core.arguments import is_whole, to_path
from singan_core.drawing import INK, Colour, Drawing, Point
from singan_core.errors import SinGANError
from singan_core.explorer import (
    LIMITS,
    MARK,
    MASKED,
    TASKS,
    TOOLS,
    Background,
    Explorer,
    Settings,
    Stopped,
    Training,
    photographs,
)
from singan_core.images import to_array
from singan_core.model import SinGAN
from singan_core.plots import Figure, as_png
from singan_core.pyramid import Size, resize
from singan_core.survey import CHOICES, Survey

FRAME = "1px solid #999999"
"""Around a canvas, for a white page on a white one cannot be seen."""


class Pen:
    """Mouse and finger on a canvas: `draw` gets the ends of every piece of a line, `done` is called when it is lifted.

    canvas: an `ipycanvas.Canvas`, or what has its callbacks.
    """

    def __init__(self, canvas: Any, draw: Callable[[Sequence[Point]], None], done: Callable[[], None] = lambda: None):
        self.draw, self.done = draw, done
        self.last: Point | None = None
        canvas.on_mouse_down(self.begin)
        canvas.on_mouse_move(self.move)
        canvas.on_mouse_up(self.end)
        canvas.on_mouse_out(self.end)
        canvas.on_touch_start(lambda points: self.begin(*points[0]))
        canvas.on_touch_move(lambda points: self.move(*points[0]))
        canvas.on_touch_end(self.end)
        canvas.on_touch_cancel(self.end)

    def begin(self, x: float, y: float) -> None:
        """The pen comes down at a place, in pixels from the top left corner."""
        self.last = (x, y)
        self.move(x, y)

    def move(self, x: float, y: float) -> None:
        """The pen moves; it draws if it is down."""
        if self.last is None:
            return
        ends, self.last = [self.last, (x, y)], (x, y)
        self.draw(ends)

    def end(self, *_: Any) -> None:
        """The pen goes up, or leaves the canvas."""
        if self.last is not None:
            self.last = None
            self.done()


class SketchPad:
    """A pad to draw on with mouse or finger, with buttons to clear it and to paint what is drawn.

    Show its `box`; `image()` is the drawing at any time. start: the sketch (1, 3, h, w) that is on the pad at first,
    brought to `size` = (height, width) pixels. paint: gives the figure below the pad for a drawing (1, 3, H, W); it is
    called once at the beginning and then by the button. line: width of the lines, in pixels. palette: colours (k, 3) in
    [-1, 1] to draw with, a button for each, the first at the beginning; default: dark ink alone. canvas: what to draw
    on, default a new `ipycanvas.Canvas`. Raises SinGANError where ipycanvas is not installed.
    """

    def __init__(
        self,
        start: Tensor,
        paint: Callable[[Tensor], Figure],
        *,
        size: Size,
        line: int = 3,
        palette: Tensor | None = None,
        canvas: Any = None,
    ):
        self.canvas = new_canvas(size) if canvas is None else canvas
        self.drawing, self.paint = Drawing(resize(start, size), line), paint
        inks = [INK]
        if palette is not None:
            inks = [tuple(colour) for colour in to_array(palette.T[None, ..., None]).reshape(-1, 3).tolist()]
        self.ink = inks[0]
        self.result = ipywidgets.Image(format="png")
        clear, redraw = ipywidgets.Button(description="Clear"), ipywidgets.Button(description="Paint")
        clear.on_click(lambda _: self.clear())
        redraw.on_click(lambda _: self.show_result())
        pens = [] if palette is None else [ipywidgets.HBox([self._ink_button(ink) for ink in inks])]
        self.canvas.layout = ipywidgets.Layout(width=f"{size[1]}px", max_width="100%", border=FRAME)
        self.box = ipywidgets.VBox([self.canvas, *pens, ipywidgets.HBox([clear, redraw]), self.result])

        on_opened_page(self.canvas, self.show)
        self.pen = Pen(self.canvas, self.draw)
        self.show()
        self.show_result()

    def image(self) -> Tensor:
        """What is drawn so far, (1, 3, H, W) in [-1, 1]."""
        return self.drawing.image()

    def clear(self) -> None:
        """Begin with a white page."""
        self.drawing.clear()
        self.show()

    def dip(self, ink: Colour) -> None:
        """Go on in another colour."""
        self.ink = ink
        self.canvas.stroke_style = as_hex(ink)

    def draw(self, ends: Sequence[Point]) -> None:
        """Draw a piece of a line, on the screen and on the page."""
        self.canvas.stroke_line(*ends[0], *ends[1])
        self.drawing.stroke(ends, self.ink)

    def show(self) -> None:
        """Bring the canvas on the screen to the state of the drawing."""
        self.canvas.stroke_style = as_hex(self.ink)
        self.canvas.line_width, self.canvas.line_cap = self.drawing.line, "round"
        self.canvas.put_image_data(self.drawing.array(), 0, 0)

    def show_result(self) -> None:
        """Paint what is drawn and show it below the pad."""
        self.result.value = as_png(self.paint(self.image()))

    def _ink_button(self, ink: Colour) -> ipywidgets.Button:
        button = ipywidgets.Button(layout={"width": "40px"}, style={"button_color": as_hex(ink)}, tooltip=as_hex(ink))
        button.on_click(lambda _: self.dip(ink))
        return button


class ExplorerPanel:
    """The injection-scale explorer as a widget: show its `box`.

    name: the bundled photograph to begin with. profile: see `resolve_profile`. store: folder of the runs. folder: where
    results are saved. model: a pyramid of the photograph, by default one that is found. canvas: what to draw on, by
    default a new `ipycanvas.Canvas`.

    The panel only wires widgets to an `Explorer`. What a person uploads joins the list of pictures. Pictures are drawn
    and pyramids trained in threads, the newest settings first; `wait()` returns when the picture is there. What goes
    wrong in a callback is told in the line `message`, and the panel stays alive. Raises SinGANError for an unknown
    photograph and where ipycanvas is missing.
    """

    WIDTH = 352
    """Pixels of the screen across each of the three pictures, where there is room for them side by side."""

    def __init__(
        self,
        name: str = "mountains",
        *,
        profile: str | None = None,
        store: str | Path | None = None,
        folder: str | Path = "samples",
        model: SinGAN | None = None,
        canvas: Any = None,
    ):
        self.profile, self.store, self.folder = profile, store, to_path(folder)
        self.explorer = Explorer.of_sample(name, profile=profile, store=store)
        if name not in photographs():
            raise SinGANError(f"'{name}' is an input of a task; photographs are {', '.join(photographs())}.")
        if model is not None:
            self.explorer.use(model)
        self.uploads: dict[str, Explorer] = {}
        self.background, self.training = Background(), None
        self._quiet = False  # while the panel itself sets its widgets
        self._make_widgets(name, new_canvas(self._page_size()) if canvas is None else canvas)
        self._wire()
        self.open(self.explorer)
        self.wait()

    # -- what a person does; each is called by a widget, through `_guarded`

    def open(self, explorer: Explorer) -> None:
        """Take another photograph, with or without a pyramid."""
        if self.training is not None:
            self.training.stop()
            self.training = None
        self.explorer = explorer
        self.canvas.height, self.canvas.width = self._page_size()
        self.choose_task()

    def choose_photograph(self) -> None:
        """Open the photograph that is chosen in the list, as it was left if it is an uploaded one."""
        name = self.photograph.value
        uploaded = self.uploads.get(name)
        self.open(uploaded or Explorer.of_sample(name, profile=self.profile, store=self.store))

    def take_upload(self) -> None:
        """Open the file that a person has uploaded."""
        if not self.upload.value:
            return
        (file,) = self.upload.value
        with self._silently():
            self.upload.value = ()  # so that the same file can be given again
        content = bytes(file["content"])
        explorer = Explorer.of_upload(content, file["name"], profile=self.profile, store=self.store)
        entry = f"{explorer.name} (yours)"
        self.uploads[entry] = explorer
        with self._silently():
            self.photograph.options = [*photographs(), *self.uploads]
            self.photograph.value = entry
        self.open(explorer)

    def choose_task(self) -> None:
        """Bring the widgets to what the task and the pyramid allow, and draw."""
        task, has_model = self.task.value, self.explorer.model is not None
        with self._silently():
            if has_model:
                settings = self.explorer.defaults(task)
                self.scale.max, self.scale.min = self.explorer.last, 0
                self.scale.value, self.scale.min = settings.scale, 0 if task == "sample" else 1
                self.dilation.value, self.blur.value = settings.dilation, settings.blur
            # never empty: the page would keep the buttons that it had, and none of them could be chosen any more
            self.tool.options = ["paint"] if task == "paint" else TOOLS
            self.tool.value = self.tool.options[0]
            for widget in (self.scale, self.seed, self.save_button, self.full_size):
                widget.disabled = not has_model
            for widget in (self.dilation, self.blur):
                widget.disabled = not has_model or task not in MASKED
            for widget in (self.tool, self.colour, self.line, self.clear_button, self.reset_button):
                widget.disabled = task == "sample"
        name = self.explorer.name
        self.before_title.value = f"The photograph, {name}" if task == "sample" else f"Before, {name}: draw here"
        self._show_training()
        self.show_page()
        self.refresh()

    def refresh(self) -> None:
        """Draw with the settings as they are, in the background; gray pictures where something is missing for that."""
        explorer, missing = self.explorer, self._missing()
        if self.training is None:
            self.say(missing or "Drawing ...")
        if missing:
            self.background.submit(self._guarded(lambda: self._show_nothing(explorer)))
        else:
            settings = self.settings()
            self.background.submit(self._guarded(lambda: self._draw(explorer, settings)))

    def draw(self, ends: Sequence[Point]) -> None:
        """Draw a piece of a line on the input of the task, and on the screen."""
        height, width = self._page_size()
        places = [(x / width, y / height) for x, y in ends]
        tool, colour = self.tool.value, as_rgb(self.colour.value)
        self.explorer.stroke(self.task.value, places, tool, colour, self.line.value / width)
        if tool != "unmark":  # that is seen when the pen goes up
            self.canvas.stroke_style = as_hex(colour if tool == "paint" else MARK)
            self.canvas.line_width, self.canvas.line_cap = self.line.value, "round"
            self.canvas.stroke_line(*ends[0], *ends[1])

    def lift_pen(self) -> None:
        """A line is drawn: show it with the mask, and what the pyramid makes of it."""
        if self.task.value != "sample":
            self.show_page()
            self.refresh()

    def clear(self) -> None:
        """Begin with the photograph and nothing marked, or with a white page."""
        self.explorer.clear(self.task.value)
        self.lift_pen()

    def reset(self) -> None:
        """Begin with the input that the task had at first."""
        self.explorer.reset(self.task.value)
        self.lift_pen()

    def save(self) -> None:
        """Write the result to a file, in the background."""
        explorer, settings, full_size = self.explorer, self.settings(), self.full_size.value

        def write() -> None:
            path = explorer.save(settings, self.folder, full_size=full_size)
            self.say(f"Saved as {path.resolve()}")

        self.say("Saving ...")
        self.background.submit(self._guarded(write))

    def train(self) -> None:
        """Train a pyramid of this photograph in a thread of its own."""
        self.say("The training starts ...")  # before it can say more itself
        self.training = self.explorer.train(self._guarded(self._tell_training))
        self._show_training()

    def stop(self) -> None:
        """Stop the training."""
        if self.training is not None:
            self.training.stop()

    # -- what a person sees

    def settings(self) -> Settings:
        """The settings as the widgets have them."""
        masked = self.task.value in MASKED
        return Settings(
            self.task.value,
            self.scale.value,
            self.seed.value,
            dilation=self.dilation.value if masked else 0.0,
            blur=self.blur.value if masked else 0.0,
        )

    def show_page(self) -> None:
        """Bring the canvas to the state of the input."""
        self.canvas.put_image_data(self.explorer.shown(self.task.value, self._page_size()), 0, 0)

    def say(self, text: str, *, error: bool = False) -> None:
        """Write a text in the line of messages."""
        self.message.value = _status(text, error)

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until the newest picture is there."""
        self.background.wait(timeout)

    # -- parts

    def _missing(self) -> str:
        """What has to be done before there is anything to draw; empty where there is nothing."""
        explorer, task = self.explorer, self.task.value
        if explorer.model is None:
            takes = "some seconds" if self.profile == "smoke" else "about half a minute"
            return f"There is no trained pyramid of '{explorer.name}' yet. Press Train: it takes {takes} on two cores."
        if task in MASKED and not explorer.is_marked(task):
            return "Nothing is marked yet: draw on the picture over what is to be redrawn."
        return ""

    def _show_nothing(self, explorer: Explorer) -> None:
        if explorer is self.explorer:
            self.given.value = self.after.value = _png(np.full((*self._page_size(), 3), 230, np.uint8))
            self.given_title.value = "What the level is given"

    def _draw(self, explorer: Explorer, settings: Settings) -> None:
        start = time.perf_counter()
        after, given = explorer.after(settings), explorer.given(settings)
        if explorer is not self.explorer:  # another photograph was opened meanwhile
            return
        self.after.value, self.given.value = _png(to_array(after)), _png(to_array(given))
        rows, columns = after.shape[-2:]
        below = f"level {settings.scale - 1}" if settings.scale else "nothing"
        self.given_title.value = f"What level {settings.scale} is given, from {below}"
        self.say(f"{rows} x {columns} px (height x width), drawn in {time.perf_counter() - start:.2f} s")

    def _tell_training(self, training: Training) -> None:
        if training is not self.training:  # of a photograph that was left
            return
        self.bar.value = training.share
        if training.running:
            self.say(training.text)
            return
        self.training = None
        if training.error is None:
            self.choose_task()
        elif isinstance(training.error, Stopped):
            self.say("The training was stopped.")
        else:
            self._tell(training.error)
        self._show_training()

    def _show_training(self) -> None:
        running = self.training is not None
        self.train_button.disabled = running or self.explorer.model is not None
        self.stop_button.disabled = not running
        self.bar.layout.visibility = "visible" if running else "hidden"
        if not running:
            self.bar.value = 0.0

    def _page_size(self) -> Size:
        height, width = self.explorer.image.shape[-2:]
        return max(1, round(self.WIDTH * height / width)), self.WIDTH

    def _tell(self, error: Exception) -> None:
        self.say(_told(error), error=True)

    def _guarded(self, function: Callable[..., None]) -> Callable[..., None]:
        """The function, but what it raises is told in the line of messages."""

        @functools.wraps(function)
        def call(*arguments: Any) -> None:
            try:
                function(*arguments)
            except Exception as error:
                self._tell(error)

        return call

    @contextlib.contextmanager
    def _silently(self) -> Iterator[None]:
        """Changes that the panel makes to its own widgets call nothing."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _make_widgets(self, name: str, canvas: Any) -> None:
        narrow, wide = ipywidgets.Layout(width="200px"), ipywidgets.Layout(width=f"{self.WIDTH}px")
        slider = {"continuous_update": False, "layout": wide}
        self.canvas = canvas
        self.photograph = ipywidgets.Dropdown(options=photographs(), value=name, description="picture", layout=narrow)
        self.upload = ipywidgets.FileUpload(accept="image/*", description="Upload")
        self.task = ipywidgets.Dropdown(options=TASKS, value="edit", description="task", layout=narrow)
        self.scale = ipywidgets.IntSlider(1, 0, 5, description="level", **slider)
        self.scale.tooltip = "The first level that redraws the picture; 0 is the coarsest and changes most"
        self.seed = ipywidgets.BoundedIntText(0, *LIMITS["seed"], description="seed", layout=narrow)
        self.dilation = ipywidgets.FloatSlider(0, min=0, max=40, step=0.1, description="dilation", **slider)
        self.blur = ipywidgets.FloatSlider(0, min=0, max=20, step=0.1, description="blur", **slider)
        self.dilation.tooltip = "By how many pixels of the trained size the mask is widened"
        self.blur.tooltip = "How soft the edge of the mask is: standard deviation in pixels of the trained size"
        self.tool = ipywidgets.ToggleButtons(
            options=TOOLS,
            style={"button_width": "70px"},
            tooltips=[
                "Draw over what is to be redrawn",
                "Draw over marks to take them away",
                "Draw in the colour beside; in tasks with a mask that marks, too",
            ],
        )
        self.colour = ipywidgets.ColorPicker(value=as_hex(INK), concise=True)
        self.line = ipywidgets.IntSlider(12, 1, 60, description="line", layout=ipywidgets.Layout(width="240px"))
        self.clear_button, self.reset_button = (ipywidgets.Button(description=text) for text in ("Clear", "Reset"))
        self.save_button = ipywidgets.Button(description="Save")
        self.full_size = ipywidgets.Checkbox(False, description="at the size of the picture", indent=False)
        self.train_button, self.stop_button = (ipywidgets.Button(description=text) for text in ("Train", "Stop"))
        self.bar = ipywidgets.FloatProgress(0.0, min=0.0, max=1.0)
        self.message = ipywidgets.HTML()
        whole = ipywidgets.Layout(width="100%")
        self.given, self.after = (ipywidgets.Image(format="png", layout=whole) for _ in range(2))
        self.canvas.layout = ipywidgets.Layout(width="100%", border=FRAME)
        self.before_title, self.given_title = ipywidgets.Label(), ipywidgets.Label()
        row, column = ipywidgets.HBox, ipywidgets.VBox
        third = ipywidgets.Layout(flex="1 1 0%", min_width="180px", max_width=f"{self.WIDTH + 8}px")
        pictures = [
            column([self.before_title, self.canvas], layout=third),
            column([self.given_title, self.given], layout=third),
            column([ipywidgets.Label("After"), self.after], layout=third),
        ]
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        self.box = column(
            [
                row([self.photograph, self.upload, self.task, self.seed], layout=wrap),
                row([self.scale, self.dilation, self.blur], layout=wrap),
                row(pictures, layout=wrap),
                row([self.tool, self.colour, self.line, self.clear_button, self.reset_button], layout=wrap),
                row([self.save_button, self.full_size, self.train_button, self.stop_button, self.bar], layout=wrap),
                self.message,
            ]
        )

    def _wire(self) -> None:
        for widget, action in (
            (self.photograph, self.choose_photograph),
            (self.upload, self.take_upload),
            (self.task, self.choose_task),
            *((each, self.refresh) for each in (self.scale, self.seed, self.dilation, self.blur)),
        ):
            widget.observe(self._guarded(functools.partial(self._unless_quiet, action)), names="value")
        for button, action in (
            (self.clear_button, self.clear),
            (self.reset_button, self.reset),
            (self.save_button, self.save),
            (self.train_button, self.train),
            (self.stop_button, self.stop),
        ):
            button.on_click(self._guarded(functools.partial(self._unless_quiet, action)))
        on_opened_page(self.canvas, self._guarded(self.show_page))
        self.pen = Pen(self.canvas, self._guarded(self.draw), self._guarded(self.lift_pen))

    def _unless_quiet(self, action: Callable[[], None], _: Any) -> None:
        if not self._quiet:
            action()


class SurveyPanel:
    """A survey on real and fake pictures as a widget: show its `box`.

    survey: trials of one kind. folder: where the answers are saved after each one. height: of a picture on the screen,
    in pixels. timer: begins something after so many seconds in a thread, by default `threading.Timer`.

    Each trial begins with a click, so that nobody misses it; the pictures disappear when their time is over, and the
    answer can be given before and after. The panel only wires widgets to a `Survey`. What goes wrong in a callback is
    told in the line `message`; answers that could not be saved are kept, and the next one or the button Save tries
    again. Raises SinGANError for a folder that cannot be written to, or has another survey's file of this name, and for
    a height that is none.
    """

    def __init__(
        self,
        survey: Survey,
        folder: str | Path = "samples",
        *,
        height: int = 240,
        timer: Callable[[float, Callable[[], None]], Any] = threading.Timer,
    ):
        if not is_whole(height) or not 1 <= height <= 2000:
            raise SinGANError(f"height must be a whole number of pixels from 1 to 2000, got {height!r}.")
        self.survey, self.folder, self.height, self.timer = survey, to_path(folder), height, timer
        survey.file(self.folder)
        kind = survey.trials[0].kind
        self.pictures = [ipywidgets.Image(format="png") for _ in survey.trials[0].images]
        self.next_button = ipywidgets.Button(description="Show")
        self.answer_buttons = {choice: ipywidgets.Button(description=choice.capitalize()) for choice in CHOICES[kind]}
        self.save_button = ipywidgets.Button(description="Save", disabled=True)
        self.message = ipywidgets.HTML()
        question = "Which one is the photograph?" if kind == "paired" else "Is it a photograph (real), or made (fake)?"
        self.next_button.on_click(self._guarded(self.show))
        self.save_button.on_click(self._guarded(self.save))
        for choice, button in self.answer_buttons.items():
            button.on_click(self._guarded(functools.partial(self.answer, choice)))
        self.box = ipywidgets.VBox(
            [
                ipywidgets.Label(question),
                ipywidgets.HBox(self.pictures),
                ipywidgets.HBox([self.next_button, *self.answer_buttons.values(), self.save_button]),
                self.message,
            ]
        )
        self._wait()
        self.say(f"{len(survey.trials)} trials, {survey.exposure:g} s each. Press Show.")

    def show(self) -> None:
        """Show the pictures of the current trial, and let them disappear when their time is over."""
        number = len(self.survey.answers)
        drawn = [_png(to_array(self._enlarged(image))) for image in self._images]
        self.survey.show()  # after the drawing: the time of the answer counts from the pictures' appearance
        for widget, png in zip(self.pictures, drawn, strict=True):
            widget.value = png
        self.next_button.disabled = self.save_button.disabled = True
        for button in self.answer_buttons.values():
            button.disabled = False
        self.say(f"Trial {number + 1} of {len(self.survey.trials)}")
        if self.survey.exposure < threading.TIMEOUT_MAX:  # a thread cannot wait longer than that: centuries
            self.timer(self.survey.exposure, lambda: self._cover(number)).start()

    def answer(self, choice: str) -> None:
        """Take an answer, save all of them and wait for the next trial."""
        self.survey.answer(choice)
        self._wait()
        self.save()

    def save(self) -> None:
        """Save the answers so far. Where that fails, the button Save is enabled until the next trial begins."""
        self.save_button.disabled = False
        try:
            path = self.survey.save(self.folder)
        except SinGANError as error:
            raise SinGANError(f"{error} Your answers are kept: Save tries again.") from error
        self.save_button.disabled = True
        left = len(self.survey.trials) - len(self.survey.answers)
        self.say(f"{left} trials left. Press Show." if left else f"Thank you. Saved as {path.resolve()}")

    def say(self, text: str, *, error: bool = False) -> None:
        """Write a text in the line of messages."""
        self.message.value = _status(text, error)

    def _wait(self) -> None:
        """Nothing to be seen, until the next trial is asked for."""
        self._cover(len(self.survey.answers))
        self.next_button.disabled = self.survey.current is None
        for button in self.answer_buttons.values():
            button.disabled = True

    def _cover(self, number: int) -> None:
        """Hide the pictures of this trial; those of a later one stay."""
        if number == len(self.survey.answers):
            for widget, image in zip(self.pictures, self._images, strict=True):
                widget.value = _png(np.full((self.height, self._width(image), 3), 128, np.uint8))

    @property
    def _images(self) -> tuple[Tensor, ...]:
        """The pictures of the current trial, or of the last one."""
        return (self.survey.current or self.survey.trials[-1]).images

    def _enlarged(self, image: Tensor) -> Tensor:
        return resize(image, (self.height, self._width(image)))

    def _width(self, image: Tensor) -> int:
        rows, columns = image.shape[-2:]
        return max(1, round(self.height * columns / rows))

    def _guarded(self, function: Callable[[], None]) -> Callable[[Any], None]:
        """A callback of a button that calls the function; what that raises is told in the line of messages."""

        def call(_: Any) -> None:
            try:
                function()
            except Exception as error:
                self.say(_told(error), error=True)

        return call


def new_canvas(size: Size) -> Any:
    """An empty `ipycanvas.Canvas` of (height, width) pixels. Raises SinGANError where ipycanvas is not installed."""
    try:
        from ipycanvas import Canvas
    except ImportError as error:
        raise SinGANError(
            "Drawing by hand needs the package ipycanvas: pip install ipycanvas, then restart JupyterLab."
        ) from error
    return Canvas(width=size[1], height=size[0])


def on_opened_page(canvas: Any, show: Callable[[], None]) -> None:
    """Call `show` for every page that opens with the canvas on it: there it is empty at first."""

    def opened() -> None:
        # ipycanvas tells a page which canvas its commands are for only when that changes, and believes that a page
        # which has just opened, and has heard nothing yet, knows it: all commands would fail there.
        if (manager := getattr(canvas, "_canvas_manager", None)) is not None:
            manager._current_canvas = None
        show()

    canvas.on_client_ready(opened)


def as_hex(colour: Colour) -> str:
    """8-bit RGB as a web colour: (38, 38, 38) is #262626."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def as_rgb(colour: str) -> Colour:
    """A web colour as 8-bit RGB: a name, #262626 or #222. Raises SinGANError for anything else."""
    try:
        return ImageColor.getrgb(colour)[:3]
    except ValueError as error:
        raise SinGANError(f"There is no colour {colour!r}: give a name, or #rrggbb.") from error


def _status(text: str, error: bool) -> str:
    colour = "#B00020" if error else "#333333"
    return f'<span role="status" style="color: {colour}">{html.escape(text)}</span>'


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SinGANError) else f"{type(error).__name__}: {error}"


def _png(array: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, "PNG")
    return encoded.getvalue()
