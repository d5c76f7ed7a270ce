"""The figures and tables that more than one notebook shows, and the one place that writes figures to disk.

Every function returns a figure that belongs to no window: a notebook shows it, once, where it is the last expression
of a cell, and `save_figure` writes the same picture to figures/. pyplot and its global state are not used. Colours are
those of Okabe and Ito, which colour-blind readers can tell apart.
"""

import html
import io
import itertools
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator
from PIL import Image
from torch import Tensor

from singan_core.arguments import check_kind, is_whole, to_path
from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import replacing
from singan_core.images import check_image, check_mask, mask_to_array, to_array
from singan_core.metrics import Interval
from singan_core.model import HISTORY_COLUMNS, SinGAN
from singan_core.networks import receptive_field
from singan_core.progress import Progress
from singan_core.pyramid import Pyramid
from singan_core.trace import note_written

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Blue, vermilion, green, purple, orange, light blue, black: Okabe and Ito's without yellow, too pale for lines."""

WIDTH = 9.0
"""Inches across the page of a notebook: no figure is made wider."""

LOSS_LABELS = {
    "critic_real": "D(x)",
    "critic_fake": "D(G(z))",
    "gradient_penalty": "gradient penalty",
    "generator_fake": "D(G(z)), generator's step",
    "reconstruction": "reconstruction (MSE)",
}
"""What the columns of a training history are called in a legend."""

_GAP = 0.12  # inches between pictures
_LINE = 0.17  # inches for a line of caption
_CHARACTER = 0.072  # inches for a character of caption, so that captions wider than their pictures do not collide
_DPI = 110


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook shows as the PNG that `save_figure` writes."""

    def _repr_png_(self) -> bytes | None:
        return as_png(self)


class PictureGrid(Figure):
    """A figure of photographs, which a notebook shows as JPEG: a third of the PNG that `save_figure` writes."""

    def _repr_png_(self) -> None:
        return None  # a notebook would hold both

    def _repr_jpeg_(self) -> bytes:
        drawn = io.BytesIO()
        _drawn(self).save(drawn, "JPEG", quality=92, subsampling=0, optimize=True)
        return drawn.getvalue()


# -- files


def profile_folder(profile: str) -> Path:
    """Where all runs of a profile leave what they made: in $SINGAN_FIGURES, else `figures` in the checkout or here."""
    if chosen := os.environ.get("SINGAN_FIGURES"):
        return to_path(chosen) / profile
    checkout = Path(__file__).resolve().parents[1]
    in_checkout = (checkout / "pyproject.toml").exists()
    return (checkout if in_checkout else Path.cwd()) / "figures" / profile


def figures_folder(profile: str) -> Path:
    """Where the figures of this run are kept: `profile_folder`, or its subfolder $SINGAN_VARIANT where that is set.

    A variant is a run with another seed or picture than the notebook's own. Raises SinGANError for a name that has
    other characters than lower-case letters, digits, `_` and `-`, and for an unknown profile.
    """
    variant = os.environ.get("SINGAN_VARIANT", "")
    if not re.fullmatch(r"[a-z0-9_-]*", variant):
        raise SinGANError(f"SINGAN_VARIANT has lower-case letters, digits, _ and - only, not {variant!r}: unset it.")
    return profile_folder(resolve_profile(profile)) / variant


def save_figure(figure: matplotlib.figure.Figure, name: str, profile: str) -> Path:
    """Write a figure as PNG to <figures_folder(profile)>/<name>.png and return that path.

    name: lower-case letters, digits, `_` and `-`, without a suffix: "00_samples". An older file of that name is
    replaced in one piece. Raises SinGANError for another name, for what is no figure, and for a place that cannot be
    written.
    """
    check_kind(figure, matplotlib.figure.Figure, "A figure, as show_images returns it,")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_-]+", name):
        raise SinGANError(
            f"A figure's name has lower-case letters, digits, _ and - only, without suffix; got {name!r}."
        )
    path = figures_folder(profile) / f"{name}.png"
    with replacing(path) as unfinished:
        unfinished.write_bytes(as_png(figure))
    note_written(path)
    return path


# -- figures


def new_figure(
    *, width: float = WIDTH, height: float = 3.0, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """An empty figure of width x height inches in the common style, and its axes: one, or an array as of `subplots`.

    options: those of matplotlib's Figure.subplots, such as sharey=True or width_ratios=[2, 1]. Raises SinGANError for
    less than one row or column.
    """
    _check_grid(rows=rows, columns=columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for each in np.ravel(axes):
        _plain(each)
    return figure, axes


def show_images(
    images: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    height: float = 2.0,
    title: str | None = None,
    row_titles: Sequence[str] | None = None,
    same_scale: bool = True,
) -> Figure:
    """Pictures in a grid, each pixel a square: a tensor (N, 3, H, W), or a sequence of (1, 3, h, w) of any sizes.

    Values outside [-1, 1] are clamped; masks (1, 1, h, w) are shown in gray. titles: one below each picture; lines are
    parted by newlines. columns: pictures in a row; default: as many as fit. height: of the tallest picture, in inches;
    less where a row would be wider than the page. title: above all. row_titles: one at the left of each row.
    same_scale: one size for all pixels; False: one height for all pictures. Raises SinGANError for an empty sequence,
    tensors that are not pictures, less than one column, and titles that do not match in number.
    """
    _check_grid(columns=columns)
    single = isinstance(images, Tensor) and images.ndim == 3
    batches = list(images) if isinstance(images, Iterable) and not single else [images]
    for batch in batches:
        if not isinstance(batch, Tensor):
            check_image(batch, "each picture")  # raises, and says how it becomes one
    arrays = [_shown(image[None]) for batch in batches for image in (batch if batch.ndim == 4 else batch[None])]
    if not arrays:
        raise SinGANError("There is no picture to show: the sequence is empty.")
    titles = [""] * len(arrays) if titles is None else _checked_texts("titles", titles, len(arrays), "pictures")
    tallest = max(array.shape[0] for array in arrays)
    unit = [height / (tallest if same_scale else array.shape[0]) for array in arrays]  # inches per pixel
    widest = max(array.shape[1] * each for array, each in zip(arrays, unit, strict=True))
    margin = 0.15 + _CHARACTER * _longest(row_titles) if row_titles else 0.0
    room = WIDTH - margin
    if columns is None:
        fitting = max(1, int((room + _GAP) // (widest + _GAP)))
        columns = ceil(len(arrays) / ceil(len(arrays) / fitting))  # rows of about equal length
    columns = min(columns, len(arrays))
    rows = ceil(len(arrays) / columns)
    if row_titles is not None:
        row_titles = _checked_texts("row_titles", row_titles, rows, "rows")

    captions = [_CHARACTER * _longest([caption]) for caption in titles]
    sizes = np.array([[array.shape[1] * each, array.shape[0] * each] for array, each in zip(arrays, unit, strict=True)])
    taken = sum(sizes[column::columns, 0].max() for column in range(columns)) + _GAP * (columns - 1)
    sizes *= min(1.0, (room - _GAP * (columns - 1)) / (taken - _GAP * (columns - 1)))
    widths = [max(*sizes[c::columns, 0], *captions[c::columns]) for c in range(columns)]
    of_row = [slice(r * columns, (r + 1) * columns) for r in range(rows)]
    lines = [max(caption.count("\n") + 1 if caption else 0 for caption in titles[row]) for row in of_row]
    below = [_LINE * count + (0.06 if count else 0.0) for count in lines]
    heights = [sizes[row, 1].max() + caption for row, caption in zip(of_row, below, strict=True)]
    header = 0.32 if title else 0.0
    total = (margin + sum(widths) + _GAP * (columns - 1), header + sum(heights) + _GAP * (rows - 1))

    figure = PictureGrid(figsize=total)
    if title:
        figure.text(0.0, 1.0, title, ha="left", va="top", fontsize=11)
    for number, (array, caption, (wide, high)) in enumerate(zip(arrays, titles, sizes, strict=True)):
        row, column = divmod(number, columns)
        left = margin + sum(widths[:column]) + _GAP * column + (widths[column] - wide) / 2
        bottom = total[1] - header - sum(heights[: row + 1]) - _GAP * row + below[row]
        axes = figure.add_axes((left / total[0], bottom / total[1], wide / total[0], high / total[1]))
        enlarged = high * _DPI >= array.shape[0]
        axes.imshow(array, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if enlarged else "hanning")
        axes.set_axis_off()
        # a text and not an axes title: it goes below, where the captions of a row are in line
        axes.annotate(caption, (0.5, 0), (0, -4), "axes fraction", "offset points", ha="center", va="top", fontsize=9)
        if row_titles is not None and column == 0:
            middle = (bottom + high / 2) / total[1]
            figure.text(0.0, middle, row_titles[row], ha="left", va="center", fontsize=9)
    return figure


def show_maps(
    maps: Sequence[Tensor],
    titles: Sequence[str],
    label: str,
    *,
    columns: int = 3,
    log: bool = False,
    outline: Tensor | None = None,
) -> Figure:
    """Maps over a picture in the colours of viridis, all on one scale with one colour bar; pictures among them as such.

    maps: (1, 1, h, w) of finite values, or pictures (1, 3, h, w) in [-1, 1], all of one size. titles: one below each;
    lines are parted by newlines. label: what the colours stand for, with its unit. columns: maps in a row. log: a
    logarithmic scale; values below a thousandth of the largest are drawn as that. outline: a mask (1, 1, h, w), whose
    border is drawn on every map and picture. Raises SinGANError for no map, for several sizes, for values that are not
    finite, on a logarithmic scale for no positive value, for other tensors, less than one column, and for titles that
    do not match in number.
    """
    _check_grid(columns=columns)
    for each in maps:
        if not isinstance(each, Tensor) or each.ndim != 4 or tuple(each.shape[:2]) not in ((1, 1), (1, 3)):
            got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise SinGANError(f"A map is a tensor (1, 1, h, w), and a picture among them (1, 3, h, w); got {got}.")
    if outline is not None:
        check_mask(outline)
    titles = _checked_texts("titles", titles, len(maps), "maps")
    if len({each.shape[-2:] for each in (maps if outline is None else [*maps, outline])}) > 1:
        raise SinGANError("Maps, pictures and the outline must have one size: compute them at one, or draw them apart.")
    colours = _map_colours([each for each in maps if each.shape[1] == 1], log)
    columns = min(columns, len(maps))
    rows = ceil(len(maps) / columns)
    height, width = maps[0].shape[-2:]
    wide = min((WIDTH - 1.0) / columns, 2.2 * width / height)  # inches; the bar and its label take the rest
    high = wide * height / width + _LINE * max(title.count("\n") + 1 for title in titles) + 0.15
    figure, grid = new_figure(width=wide * columns + 1.0, height=rows * high, rows=rows, columns=columns, squeeze=False)
    for axes, each, title in zip(grid.flat, maps, titles, strict=False):
        if each.shape[1] == 1:
            axes.imshow(_map_values(each), norm=colours.norm, cmap=colours.cmap, interpolation="nearest")
        else:
            axes.imshow(_shown(each), interpolation="nearest")
        if outline is not None:
            for colour, line in (("white", 2.6), (COLOURS[1], 1.2)):  # a white edge, to be seen on any colour
                axes.contour(_shown(outline), levels=[127.5], colors=colour, linewidths=line)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(title, fontsize=9)
    for axes in grid.flat[len(maps) :]:
        axes.remove()
    ticks = {"ticks": LogLocator(subs=(1, 2, 5)), "format": "{x:g}"} if log else {}
    bar = figure.colorbar(colours, ax=list(figure.axes), aspect=30, pad=0.02, **ticks)
    bar.minorticks_off()
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=9)
    return figure


def plot_pyramid(pyramid: Pyramid) -> Figure:
    """All levels of a photograph in a row at their true relative size, with number and height × width in pixels.

    Raises SinGANError for anything but a pyramid.
    """
    check_kind(pyramid, Pyramid, "A pyramid, as build_pyramid(image) returns it,")
    titles = [f"level {level}\n{h} × {w}" for level, (h, w) in enumerate(pyramid.shape.sizes)]
    return show_images(pyramid.images, titles, columns=len(titles), height=1.3)


def plot_effective_patch(pyramid: Pyramid, layers: int) -> Figure:
    """Every level enlarged to one height, with the receptive field of `layers` 3x3 convolutions drawn on it.

    The box is the patch that one output pixel sees: always as many pixels, ever less of the picture. Raises SinGANError
    for anything but a pyramid.
    """
    check_kind(pyramid, Pyramid, "A pyramid, as build_pyramid(image) returns it,")
    side = receptive_field(layers)
    titles = [
        f"level {n}: {side} of {h} px\n{side / h:.0%} of the height" for n, (h, _) in enumerate(pyramid.shape.sizes)
    ]
    figure = show_images(pyramid.images, titles, height=1.7, same_scale=False)
    for axes, (h, w) in zip(figure.axes, pyramid.shape.sizes, strict=True):
        corner = ((w - side) / 2 - 0.5, (h - side) / 2 - 0.5)
        for colour, line in (("white", 4.0), (COLOURS[1], 2.0)):  # a white edge, to be seen on any picture
            axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=line))
    return figure


def plot_losses(
    model: SinGAN,
    columns: Sequence[str],
    *,
    levels: Sequence[int] | None = None,
    smooth: int = 1,
    log: bool = False,
    same_scale: bool = True,
) -> Figure:
    """The losses of a training over its iterations, one panel per level.

    columns: some of HISTORY_COLUMNS. levels: default all. smooth, log, same_scale: see `plot_curves`. Raises
    SinGANError for an unknown column, a level that is not there, and a model without history (an imported one).
    """
    check_kind(model, SinGAN, "A SinGAN, as load_or_train(image) returns it,")
    _check_columns(columns)
    levels = range(len(model.levels)) if levels is None else levels
    for level in levels:
        if not 0 <= level < len(model.levels):
            raise SinGANError(f"There is no level {level}: this pyramid has the levels 0 to {len(model.levels) - 1}.")
        if model.levels[level].history is None:
            raise SinGANError(f"Level {level} has no history of its training: it was not trained here.")
    curves = [_named_losses(model.levels[level].history, columns) for level in levels]
    titles = [f"level {level}" for level in levels]
    return plot_curves(curves, titles, smooth=smooth, log=log, same_scale=same_scale)


def plot_curves(
    panels: Sequence[Mapping[str, np.ndarray]],
    titles: Sequence[str],
    *,
    smooth: int = 1,
    log: bool = False,
    same_scale: bool = True,
    first: int = 0,
) -> Figure:
    """Curves over the iterations of a training: one panel per entry, each with the same names and their values.

    panels: arrays (iterations,) by name, at most seven. smooth: each point is the mean over so many iterations up to
    it. log: a logarithmic axis, for values that are positive. same_scale: one vertical axis for all panels; False: one
    each. first: iterations before those shown. Raises SinGANError for no panel, for panels with other names than the
    first, and for titles that do not match in number.
    """
    if not panels or isinstance(panels, Mapping) or not 1 <= len(panels[0]) <= len(COLOURS):
        raise SinGANError(f"There must be a list of panels to draw, each a dictionary with 1 to {len(COLOURS)} curves.")
    if any(list(curves) != list(panels[0]) for curves in panels):
        raise SinGANError("All panels need the same names in the same order: there is one legend for all.")
    titles = _checked_texts("titles", titles, len(panels), "panels")
    down = ceil(len(panels) / 4)
    across = ceil(len(panels) / down)  # rows of about equal length
    figure, grid = new_figure(
        height=0.5 + 1.9 * down, rows=down, columns=across, sharex=True, sharey=same_scale, squeeze=False
    )
    for axes, curves, title in zip(grid.flat, panels, titles, strict=False):
        _draw_curves(axes, curves, smooth, first)
        axes.set_title(title, fontsize=10)
        if log:
            axes.set_yscale("log")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes in grid.flat[max(0, len(panels) - across) : len(panels)]:  # above a removed panel, too
        axes.tick_params(labelbottom=True)
    figure.supxlabel("iteration", fontsize=10)
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(panels[0]), frameon=False
    )
    return figure


def error_bars(intervals: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """The means of n intervals, (n,), and how far their ends lie below and above them, (2, n), for `Axes.errorbar`.

    Upright: axes.errorbar(places, *error_bars(intervals)). The interval of a single value, which is infinite, gets no
    bar.
    """
    means = np.array([each.mean for each in intervals], dtype=float)
    ends = np.array([(each.low, each.high) for each in intervals], dtype=float).reshape(-1, 2).T
    return means, np.where(np.isfinite(ends), abs(ends - means), 0.0)


def plot_sweep(
    rows: Sequence[Mapping[str, Any]], factor: str, quantities: Sequence[str], *, log: bool = False
) -> Figure:
    """Measured quantities against what was varied: a panel for each quantity, a point for each row.

    rows: as for `table`; a quantity that is an `Interval` is drawn with its ends, a row without it is left out. factor:
    the column that was varied; numbers stand where they belong, texts at equal distances. Where no mean is negative the
    vertical axis begins at 0: a difference of a few per cent should look like one. log: logarithmic vertical axes, for
    values that are positive. Raises SinGANError where no row has the factor and a quantity.
    """
    figure, grid = new_figure(height=2.8, columns=len(quantities), squeeze=False)
    for axes, quantity, colour in zip(grid[0], quantities, itertools.cycle(COLOURS)):
        points = [(row[factor], row[quantity]) for row in rows if factor in row and row.get(quantity) is not None]
        if not points:
            raise SinGANError(f"There is nothing to draw: no row has both {factor!r} and {quantity!r}.")
        places = [place for place, _ in points]
        values = [value if isinstance(value, Interval) else Interval(value, value, value, 1) for _, value in points]
        axes.errorbar(places, *error_bars(values), fmt="o-", color=colour, capsize=3, markersize=5)
        axes.set_xlabel(factor)
        axes.set_title(quantity, fontsize=10)
        if log:
            axes.set_yscale("log")
        elif all(value.mean >= 0 for value in values):
            axes.axhline(0, color="none").sticky_edges.y.append(0)  # holds for what is added to the panel, too
            axes.autoscale(axis="y")
        if all(isinstance(place, int) for place in places):  # levels and counts: there is no 0.5 between them
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_progress(progress: Progress, columns: Sequence[str], pictures: Sequence[Tensor]) -> Figure:
    """A training so far: above, one picture (1, 3, h, w) per finished level; below, the losses, level after level."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    grid = figure.add_gridspec(2, progress.levels, height_ratios=[1, 1.3])
    for level, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[0, level])
        axes.imshow(to_array(picture), interpolation="nearest")
        axes.set_title(f"level {level}", fontsize=9)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    _plain(axes)
    # at the end of a level, the model has it already; levels of published pyramids have no losses
    histories = [level.history for level in progress.model.levels[: progress.level]] + [progress.history]
    ends = np.cumsum([progress.model.config.iterations_at(level) for level in range(progress.levels)]).tolist()
    for history, first in zip(histories, [0, *ends], strict=False):
        if history is not None:
            _draw_curves(axes, _named_losses(history, columns), smooth=1, first=first)
    for end in ends:
        axes.axvline(end, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xlim(0, ends[-1])
    axes.set_xlabel("iteration, level after level")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[: len(columns)], labels[: len(columns)], loc="upper right", ncols=len(columns), fontsize=9)
    state = f"level {progress.level}, iteration {progress.iteration} of {progress.iterations}"
    axes.set_title(f"{state}, about {progress.seconds_left:.0f} s left", fontsize=10, loc="left")
    return figure


class LivePlot:
    """A callback for `train` and `load_or_train` that keeps one figure in a notebook up to date: see `plot_progress`.

    columns: the losses to draw, of HISTORY_COLUMNS. seconds: time between two drawings, at least. Outside of a notebook
    it does nothing.
    """

    def __init__(self, columns: Sequence[str] = ("critic_real", "critic_fake"), seconds: float = 2.0):
        _check_columns(columns)
        self.columns, self.seconds = tuple(columns), seconds
        self.drawn = -float("inf")
        self.pictures: list[Tensor] = []
        self.handle: Any = None

    def __call__(self, progress: Progress) -> None:
        """Draw, if it is time to, or if the level is done."""
        level_done = progress.iteration == progress.iterations
        if not _in_notebook() or (not level_done and time.monotonic() - self.drawn < self.seconds):
            return
        for level in range(len(self.pictures), len(progress.model.levels)):
            self.pictures.append(progress.model.sample(1, stop_scale=level))
        figure = plot_progress(progress, self.columns, self.pictures)
        if self.handle is None:
            from IPython.display import display

            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        self.drawn = time.monotonic()


# -- tables


class Table:
    """Rows of measured quantities with a note below, as a table in a notebook and as aligned text elsewhere."""

    def __init__(self, rows: Sequence[dict[str, Any]], note: str = ""):
        self.note = note
        self.header = list(dict.fromkeys(name for row in rows for name in row))
        self.cells = [[_as_text(row.get(name)) for name in self.header] for row in rows]
        self.numeric = [not any(isinstance(row.get(name), str) for row in rows) for name in self.header]

    def __repr__(self) -> str:
        lines = [self.header, *self.cells]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        aligned = [
            "  ".join(
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(line, widths, self.numeric, strict=True)
            )
            for line in lines
        ]
        lines = [line.rstrip() for line in [aligned[0], "  ".join("-" * w for w in widths), *aligned[1:]]]
        return "\n".join([*lines, *(["", *textwrap.wrap(self.note, width=100)] if self.note else [])])

    def _repr_html_(self) -> str:
        def line(tag: str, texts: list[str]) -> str:
            sides = ["right" if right else "left" for right in self.numeric]
            cells = zip(texts, sides, strict=True)
            return "".join(f'<{tag} style="text-align: {side}">{html.escape(text)}</{tag}>' for text, side in cells)

        body = "".join(f"<tr>{line('td', cells)}</tr>" for cells in self.cells)
        rows = f"<table><thead><tr>{line('th', self.header)}</tr></thead><tbody>{body}</tbody></table>"
        return rows + (f"<p>{html.escape(self.note)}</p>" if self.note else "")


def table(rows: Sequence[dict[str, Any]], note: str = "") -> Table:
    """A table of rows {column: value}; columns in the order in which they first appear. note: a text below it.

    Floats get three significant digits, an `Interval` is written as mean [low, high], None stays empty. Raises
    SinGANError when there is no row.
    """
    if not rows or isinstance(rows, Mapping):
        raise SinGANError("A table needs a list of at least one row, each a dictionary: value by column.")
    return Table(rows, note)


# -- parts


def as_png(figure: matplotlib.figure.Figure) -> bytes:
    """A figure as an opaque PNG. Without matplotlib's channel of opacity, files are a fifteenth smaller."""
    opaque = io.BytesIO()
    _drawn(figure).save(opaque, "PNG", optimize=True)
    return opaque.getvalue()


def _drawn(figure: matplotlib.figure.Figure) -> Image.Image:
    """A figure as RGB picture, at the resolution of a screen and on white."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, bbox_inches="tight", facecolor="white")
    return Image.open(drawn).convert("RGB")


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Interval):
        return f"{_as_text(value.mean)} [{_as_text(value.low)}, {_as_text(value.high)}]"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:,.0f}" if 999.5 <= abs(value) < float("inf") else f"{value:#.3g}".removesuffix(".")
    return str(value)


def _plain(axes: Axes) -> None:
    """The common style: no frame but the two axes, faint grid, the palette."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    axes.set_prop_cycle(color=COLOURS)


def _named_losses(history: np.ndarray, columns: Sequence[str]) -> dict[str, np.ndarray]:
    return {LOSS_LABELS[column]: history[:, HISTORY_COLUMNS.index(column)] for column in columns}


def _draw_curves(axes: Axes, curves: Mapping[str, np.ndarray], smooth: int, first: int = 0) -> None:
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for (label, values), colour in zip(curves.items(), COLOURS, strict=False):  # there are more colours
        width = max(1, min(smooth, len(values)))
        means = np.convolve(values, np.full(width, 1 / width), mode="valid")
        axes.plot(first + np.arange(width, len(values) + 1), means, color=colour, linewidth=1.2, label=label)


def _shown(image: Tensor) -> np.ndarray:
    """uint8 (h, w, 3) of an image, (h, w) of a mask."""
    image = image.detach().cpu()
    return mask_to_array(image) if image.ndim == 4 and image.shape[1] == 1 else to_array(image)


def _map_values(values: Tensor) -> np.ndarray:
    return values.detach().cpu()[0, 0].double().numpy()


def _map_colours(maps: Sequence[Tensor], log: bool) -> ScalarMappable:
    """One scale of colours for all maps; on a logarithmic one, three decades at most."""
    if not maps:
        raise SinGANError("There is no map (1, 1, h, w) to show.")
    low, high = min(_map_values(each).min() for each in maps), max(_map_values(each).max() for each in maps)
    if not np.isfinite([low, high]).all() or (log and high <= 0):
        raise SinGANError("A map has finite values, and on a logarithmic scale a positive one.")
    norm = LogNorm(max(low, high / 1000), high, clip=True) if log else Normalize(low, high)
    return ScalarMappable(norm, "viridis")


def _longest(texts: Sequence[str]) -> int:
    return max(len(line) for text in texts for line in text.split("\n"))


def _checked_texts(name: str, texts: Sequence[str], count: int, what: str) -> list[str]:
    """One text for each of `count` things, also of numbers; a single text is not a sequence of its letters."""
    given = [texts] if isinstance(texts, str) else [str(text) for text in texts]
    if len(given) != count:
        raise SinGANError(f"There are {len(given)} {name} for {count} {what}: give one for each.")
    return given


def _check_grid(**counts: int | None) -> None:
    """Rows and columns of a grid, by name, must be whole numbers from 1 on; None leaves them to the figure."""
    for name, count in counts.items():
        if count is not None and (not is_whole(count) or count < 1):
            raise SinGANError(f"{name} must be a whole number from 1 on, got {count!r}.")


def _check_columns(columns: Sequence[str]) -> None:
    for column in columns:
        if column not in HISTORY_COLUMNS:
            raise SinGANError(f"There is no loss {column!r}: choose from {', '.join(HISTORY_COLUMNS)}.")


def _in_notebook() -> bool:
    """True in a Jupyter kernel; IPython is asked only where it runs already."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
