"""Widgets of the notebooks: a pad to draw a sketch on.

What a widget does works without a browser, as plain functions and classes; the widgets only call them. No other module
imports ipywidgets; ipycanvas is imported when a pad is made.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from singan_core.errors import SinGANError
from singan_core.images import from_array, to_array
from singan_core.plots import Figure, as_png
from singan_core.pyramid import Size, resize

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (38, 38, 38)
"""The colour of the lines, 8-bit RGB: as dark as those of the bundled sketches."""


class Drawing:
    """A page with lines on it: what a pad holds, without a screen.

    start: the sketch (1, 3, H, W) in [-1, 1] that is on the page at first. line: width of the lines, in pixels. ink:
    their colour, 8-bit RGB; it may be changed between strokes.
    """

    def __init__(self, start: Tensor, line: int, ink: Colour = INK):
        self.page, self.line, self.ink = Image.fromarray(to_array(start)), line, ink

    def stroke(self, points: Sequence[Point]) -> None:
        """Draw a line with round ends through points (x, y) in pixels from the top left corner; one makes a dot."""
        pen = ImageDraw.Draw(self.page)
        pen.line(points, fill=self.ink, width=self.line)
        radius = self.line / 2
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self.ink)

    def clear(self) -> None:
        """Take a white page."""
        self.page.paste((255, 255, 255), (0, 0, *self.page.size))

    def array(self) -> np.ndarray:
        """The page as uint8 (H, W, 3)."""
        return np.array(self.page)

    def image(self) -> Tensor:
        """The page as an image (1, 3, H, W) in [-1, 1]."""
        return from_array(self.array())


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
        inks = [INK]
        if palette is not None:
            inks = [tuple(colour) for colour in to_array(palette.T[None, ..., None]).reshape(-1, 3).tolist()]
        self.drawing, self.paint = Drawing(resize(start, size), line, inks[0]), paint
        self.last: Point | None = None
        self.result = ipywidgets.Image(format="png")
        clear, redraw = ipywidgets.Button(description="Clear"), ipywidgets.Button(description="Paint")
        clear.on_click(lambda _: self.clear())
        redraw.on_click(lambda _: self.show_result())
        pens = [] if palette is None else [ipywidgets.HBox([self._ink_button(ink) for ink in inks])]
        self.box = ipywidgets.VBox([self.canvas, *pens, ipywidgets.HBox([clear, redraw]), self.result])

        self.canvas.on_client_ready(self.show)  # a page that is opened anew begins with an empty canvas
        self.canvas.on_mouse_down(self.begin)
        self.canvas.on_mouse_move(self.move)
        self.canvas.on_mouse_up(self.end)
        self.canvas.on_mouse_out(self.end)
        self.canvas.on_touch_start(lambda points: self.begin(*points[0]))
        self.canvas.on_touch_move(lambda points: self.move(*points[0]))
        self.canvas.on_touch_end(self.end)
        self.canvas.on_touch_cancel(self.end)
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
        self.drawing.ink = ink
        self.canvas.stroke_style = as_hex(ink)

    def begin(self, x: float, y: float) -> None:
        """The pen comes down at a place, in pixels from the top left corner."""
        self.last = (x, y)
        self.move(x, y)

    def move(self, x: float, y: float) -> None:
        """The pen moves; it draws if it is down."""
        if self.last is None:
            return
        self.canvas.stroke_line(*self.last, x, y)
        self.drawing.stroke([self.last, (x, y)])
        self.last = (x, y)

    def end(self, *_: Any) -> None:
        """The pen goes up, or leaves the pad."""
        self.last = None

    def show(self) -> None:
        """Bring the canvas on the screen to the state of the drawing."""
        self.canvas.stroke_style = as_hex(self.drawing.ink)
        self.canvas.line_width, self.canvas.line_cap = self.drawing.line, "round"
        self.canvas.put_image_data(self.drawing.array(), 0, 0)

    def show_result(self) -> None:
        """Paint what is drawn and show it below the pad."""
        self.result.value = as_png(self.paint(self.image()))

    def _ink_button(self, ink: Colour) -> ipywidgets.Button:
        button = ipywidgets.Button(layout={"width": "40px"}, style={"button_color": as_hex(ink)}, tooltip=as_hex(ink))
        button.on_click(lambda _: self.dip(ink))
        return button


def as_hex(colour: Colour) -> str:
    """A colour as web pages write it: #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def new_canvas(size: Size) -> Any:
    """An empty `ipycanvas.Canvas` of (height, width) pixels. Raises SinGANError where ipycanvas is not installed."""
    try:
        from ipycanvas import Canvas
    except ImportError as error:
        raise SinGANError(
            "Drawing by hand needs the package ipycanvas: pip install ipycanvas, then restart JupyterLab."
        ) from error
    return Canvas(width=size[1], height=size[0])
