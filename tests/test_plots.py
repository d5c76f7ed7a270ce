"""The figures: what is drawn where, in which size, from which numbers; the files; the tables."""

import io
import itertools
import subprocess
import sys
import types
from dataclasses import replace

import IPython
import IPython.display
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from singan_core import plots
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import to_array
from singan_core.metrics import Interval
from singan_core.model import HISTORY_COLUMNS, SinGAN
from singan_core.plots import (
    WIDTH,
    LivePlot,
    error_bars,
    figures_folder,
    new_figure,
    plot_curves,
    plot_effective_patch,
    plot_losses,
    plot_progress,
    plot_pyramid,
    plot_sweep,
    profile_folder,
    save_figure,
    show_images,
    show_maps,
    table,
)
from singan_core.progress import Progress
from singan_core.pyramid import Pyramid, build_pyramid
from singan_core.training import train

SIDES = st.integers(min_value=1, max_value=60)


def picture(height: int = 20, width: int = 26, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return TrainConfig.for_profile("smoke", min_size=12, max_size=26, kernels=4, iterations=5)


@pytest.fixture(scope="module")
def reports() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def model(config: TrainConfig, reports: list[Progress]) -> SinGAN:
    return train(picture(), config, progress=False, callback=reports.append)


@pytest.fixture
def pyramid(config: TrainConfig) -> Pyramid:
    return build_pyramid(picture(), min_size=config.min_size, max_size=config.max_size)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("SINGAN_FIGURES", str(tmp_path))
    return tmp_path


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """What a notebook with a kernel is asked to show: ("new", figure) and ("update", figure)."""
    shown: list[tuple[str, object]] = []

    def display(figure, display_id):
        shown.append(("new", figure))
        return types.SimpleNamespace(update=lambda figure: shown.append(("update", figure)))

    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", display)
    return shown


def inches(figure) -> list[tuple[float, float, float, float]]:
    """(left, bottom, width, height) of every axes."""
    across, up = figure.get_size_inches()
    return [
        (b.x0 * across, b.y0 * up, b.width * across, b.height * up) for b in (a.get_position() for a in figure.axes)
    ]


def captions(figure) -> list[str]:
    return [axes.texts[0].get_text() for axes in figure.axes]


class TestShowImages:
    def test_every_picture_of_a_batch_and_of_a_list_is_shown_pixel_by_pixel(self):
        batch, single = torch.cat([picture(seed=1), picture(seed=2)]), picture(9, 14)
        shown = [axes.images[0].get_array() for axes in show_images([batch, single]).axes]
        for array, image in zip(shown, [*batch.split(1), single], strict=True):
            np.testing.assert_array_equal(array, to_array(image))

    def test_values_outside_the_range_are_clamped(self):
        array = show_images(3 * picture()).axes[0].images[0].get_array()
        np.testing.assert_array_equal(array, to_array((3 * picture()).clamp(-1, 1)))

    def test_a_mask_is_shown_in_gray(self):
        mask = (picture()[:, :1] > 0).float()
        array = show_images([mask]).axes[0].images[0].get_array()
        np.testing.assert_array_equal(array, 255 * mask[0, 0].numpy())

    @given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=8), st.none() | st.integers(1, 4), st.booleans())
    @settings(max_examples=20)
    def test_pixels_are_square_pictures_do_not_overlap_and_fit_the_page(self, sizes, columns, same_scale):
        figure = show_images([picture(*size) for size in sizes], columns=columns, same_scale=same_scale)
        boxes = inches(figure)
        for (height, width), (_, _, wide, high) in zip(sizes, boxes, strict=True):
            assert wide / high == pytest.approx(width / height, rel=1e-6)
        for number, (left, bottom, wide, high) in enumerate(boxes):
            assert left >= -1e-6 and left + wide <= WIDTH + 1e-6
            for left2, bottom2, wide2, high2 in boxes[:number]:
                beside = left + wide <= left2 + 1e-6 or left2 + wide2 <= left + 1e-6
                apart = bottom + high <= bottom2 + 1e-6 or bottom2 + high2 <= bottom + 1e-6
                assert beside or apart

    def test_one_display_scale_for_all_by_default_and_one_height_on_request(self):
        images = [picture(10, 12), picture(20, 24)]
        small, large = (box[3] for box in inches(show_images(images, height=1.0)))
        assert (small, large) == pytest.approx((0.5, 1.0))
        small, large = (box[3] for box in inches(show_images(images, height=1.0, same_scale=False)))
        assert (small, large) == pytest.approx((1.0, 1.0))

    def test_titles_stand_below_their_pictures_and_row_titles_and_title_on_the_page(self):
        figure = show_images(
            torch.cat([picture()] * 4), list("abcd"), columns=2, title="all", row_titles=["first", "second"]
        )
        assert captions(figure) == list("abcd")
        assert {text.get_text() for text in figure.texts} == {"all", "first", "second"}

    def test_a_row_without_captions_takes_no_room_for_them(self):
        batch = torch.cat([picture()] * 2)
        bare, captioned = (
            show_images(batch, titles, columns=1).get_size_inches()[1] for titles in (["", "b"], ["a", "b"])
        )
        assert bare < captioned

    def test_wide_captions_do_not_run_into_each_other(self):
        figure = show_images([picture(8, 4)] * 3, ["a caption of some length"] * 3, height=0.5)
        figure.draw_without_rendering()
        ends = [axes.texts[0].get_window_extent() for axes in figure.axes]
        for before, after in itertools.pairwise(ends):
            assert before.x1 < after.x0 or before.y0 > after.y1

    def test_an_empty_sequence_and_titles_in_the_wrong_number_are_refused(self):
        with pytest.raises(SinGANError, match="empty"):
            show_images([])
        with pytest.raises(SinGANError, match="2 titles for 1 pictures"):
            show_images(picture(), ["a", "b"])
        with pytest.raises(SinGANError, match="1 row_titles for 2 rows"):
            show_images(torch.cat([picture()] * 2), columns=1, row_titles=["a"])

    def test_one_title_may_be_a_text_and_titles_may_be_numbers(self):
        assert show_images(picture(), "ab").axes[0].texts[0].get_text() == "ab"
        figure = show_images([picture()] * 2, [0.5, 10])
        assert [axes.texts[0].get_text() for axes in figure.axes] == ["0.5", "10"]

    def test_a_tensor_without_a_batch_is_one_picture(self):
        assert len(show_images(picture()[0]).axes) == 1

    def test_one_text_for_two_pictures_is_not_taken_letter_by_letter(self):
        with pytest.raises(SinGANError, match="1 titles for 2 pictures"):
            show_images([picture()] * 2, "ab")

    @pytest.mark.parametrize("columns", [0, -1, 2.5, True, "2"])
    def test_broken_numbers_of_columns_are_refused(self, columns):
        for draw in (
            lambda: show_images(picture(), columns=columns),
            lambda: show_maps([picture()[:, :1]], ["a"], "b", columns=columns),
            lambda: new_figure(columns=columns),
            lambda: new_figure(rows=columns),
        ):
            with pytest.raises(SinGANError, match="must be a whole number from 1 on"):
                draw()

    def test_what_is_no_picture_is_refused(self):
        with pytest.raises(SinGANError):
            show_images(torch.zeros(1, 2, 8, 8))

    @pytest.mark.parametrize("images", [[np.zeros((4, 4, 3), np.uint8)], np.zeros((2, 4, 4, 3), np.uint8)])
    def test_arrays_are_refused_with_what_makes_pictures_of_them(self, images):
        with pytest.raises(SinGANError, match="from_array"):
            show_images(images)

    @pytest.mark.parametrize("images", [None, ["mountains"], 3, [[1, 2]]])
    def test_what_is_no_picture_at_all_is_refused(self, images):
        with pytest.raises(SinGANError, match="each picture must be a tensor"):
            show_images(images)


class TestShowMaps:
    def heat(self, height: int = 20, width: int = 26, seed: int = 0) -> torch.Tensor:
        return picture(height, width, seed)[:, :1] + 2

    def test_maps_are_drawn_value_by_value_on_one_scale_and_pictures_as_they_are(self):
        first, second, photograph = self.heat(), 5 * self.heat(seed=1), picture()
        figure = show_maps([first, photograph, second], ["a", "photograph", "b"], "bits")
        drawn = [axes.images[0] for axes in figure.axes[:3]]
        np.testing.assert_allclose(drawn[0].get_array(), first[0, 0], rtol=1e-6)
        np.testing.assert_array_equal(drawn[1].get_array(), to_array(photograph))
        np.testing.assert_allclose(drawn[2].get_array(), second[0, 0], rtol=1e-6)
        limits = (first.min().item(), second.max().item())
        for each in (drawn[0], drawn[2]):
            assert each.get_clim() == pytest.approx(limits)
            assert each.get_cmap().name == "viridis"

    def test_titles_stand_below_and_the_label_beside_the_one_bar(self):
        *panels, bar = show_maps([self.heat()] * 4, list("abcd"), "bits", columns=3).axes
        assert [axes.get_xlabel() for axes in panels] == list("abcd")
        assert bar.get_ylabel() == "bits"

    def test_a_logarithmic_scale_ends_at_the_smallest_value_or_three_decades_below_the_largest(self):
        for smallest, low in ((0.2, 0.2), (0.0, 0.005)):
            values = torch.tensor([[[[smallest, 5.0], [1.0, 2.0]]]])
            drawn = show_maps([values, picture(2, 2)], ["a", "b"], "px", log=True).axes[0].images[0]
            assert drawn.get_clim() == pytest.approx((low, 5.0))

    def test_the_outline_is_drawn_on_every_map_and_picture(self):
        mask = torch.zeros(1, 1, 20, 26)
        mask[..., 5:10, 5:10] = 1
        *panels, _ = show_maps([self.heat(), picture()], ["a", "b"], "bits", outline=mask).axes
        for axes in panels:
            for contour in axes.collections:
                corners = contour.get_paths()[0].vertices
                assert corners.min() == pytest.approx(4.5, abs=0.6) and corners.max() == pytest.approx(9.5, abs=0.6)
            assert len(axes.collections) == 2  # the line and its white edge

    @given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 7), st.integers(1, 4))
    @settings(max_examples=10)
    def test_pixels_are_square_and_the_figure_fits_the_page(self, height, width, count, columns):
        titles = ["a title\nof two lines"] * count
        figure = show_maps([self.heat(height, width)] * count, titles, "bits", columns=columns)
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] <= WIDTH + 1e-6
        for _, _, wide, high in inches(figure)[:-1]:
            assert wide / high == pytest.approx(width / height, rel=1e-3)

    def test_what_cannot_be_shown_is_refused(self):
        for other in (self.heat().repeat(2, 1, 1, 1), self.heat()[0], self.heat().repeat(1, 2, 1, 1), None):
            with pytest.raises(SinGANError, match=r"A map is a tensor \(1, 1, h, w\)"):
                show_maps([other], ["a"], "bits")
        with pytest.raises(SinGANError, match="mask"):
            show_maps([self.heat()], ["a"], "bits", outline=picture(20, 26))
        with pytest.raises(SinGANError, match="1 titles for 2 maps"):
            show_maps([self.heat()] * 2, ["a"], "bits")
        with pytest.raises(SinGANError, match="no map"):
            show_maps([picture()], ["a"], "bits")
        with pytest.raises(SinGANError, match="one size"):
            show_maps([self.heat(), self.heat(9, 9)], ["a", "b"], "bits")
        with pytest.raises(SinGANError, match="finite"):
            show_maps([self.heat() / 0], ["a"], "bits")
        with pytest.raises(SinGANError, match="positive"):
            show_maps([-self.heat()], ["a"], "bits", log=True)


class TestPyramidFigures:
    def test_levels_stand_in_one_row_at_their_relative_size(self, pyramid):
        figure = plot_pyramid(pyramid)
        boxes = inches(figure)
        finest = boxes[-1]
        for (height, width), box in zip(pyramid.shape.sizes, boxes, strict=True):
            assert box[2] / finest[2] == pytest.approx(width / pyramid.shape.sizes[-1][1])
            assert box[3] / finest[3] == pytest.approx(height / pyramid.shape.sizes[-1][0])
            assert box[1] == pytest.approx(finest[1])
        assert captions(figure)[0] == f"level 0\n{pyramid.shape.sizes[0][0]} × {pyramid.shape.sizes[0][1]}"

    @pytest.mark.parametrize("layers", [2, 5])
    def test_the_box_is_the_receptive_field_in_the_middle_of_every_level(self, pyramid, layers):
        figure = plot_effective_patch(pyramid, layers)
        for axes, (height, width) in zip(figure.axes, pyramid.shape.sizes, strict=True):
            for box in axes.patches:
                assert (box.get_width(), box.get_height()) == (2 * layers + 1, 2 * layers + 1)
                middle = (box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2)
                assert middle == ((width - 1) / 2, (height - 1) / 2)  # pixel centres have whole numbers
        side, height = 2 * layers + 1, pyramid.shape.sizes[0][0]
        assert captions(figure)[0] == f"level 0: {side} of {height} px\n{side / height:.0%} of the height"

    def test_levels_are_drawn_at_one_height(self, pyramid):
        heights = [box[3] for box in inches(plot_effective_patch(pyramid, 5))]
        assert heights == pytest.approx([heights[0]] * len(heights))

    @pytest.mark.parametrize("draw", [plot_pyramid, lambda given: plot_effective_patch(given, 5)])
    def test_a_picture_in_place_of_its_pyramid_is_refused_with_what_makes_one(self, draw):
        with pytest.raises(SinGANError, match=r"build_pyramid\(image\).* got Tensor"):
            draw(picture())


class TestPlotLosses:
    def test_one_panel_per_level_and_one_line_per_column_with_the_numbers_of_the_history(self, model):
        columns = ["critic_real", "reconstruction"]
        figure = plot_losses(model, columns)
        assert [axes.get_title() for axes in figure.axes] == [f"level {i}" for i in range(len(model.levels))]
        for axes, level in zip(figure.axes, model.levels, strict=True):
            for line, column in zip(axes.lines, columns, strict=True):
                np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 6))
                np.testing.assert_allclose(line.get_ydata(), level.history[:, HISTORY_COLUMNS.index(column)])

    def test_smoothing_takes_the_mean_up_to_the_iteration(self, model):
        (line,) = plot_losses(model, ["critic_fake"], levels=[1], smooth=2).axes[0].lines
        values = model.levels[1].history[:, HISTORY_COLUMNS.index("critic_fake")]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(2, 6))
        np.testing.assert_allclose(line.get_ydata(), (values[1:] + values[:-1]) / 2)

    def test_smoothing_over_more_than_there_is_takes_the_mean_of_all(self, model):
        (line,) = plot_losses(model, ["critic_fake"], levels=[0], smooth=100).axes[0].lines
        values = model.levels[0].history[:, HISTORY_COLUMNS.index("critic_fake")]
        np.testing.assert_allclose(line.get_ydata(), [values.mean()])

    def test_panels_share_their_axes_and_the_legend_stands_once(self, model):
        figure = plot_losses(model, ["critic_real", "critic_fake"])
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["D(x)", "D(G(z))"]
        assert all(axes.get_legend() is None for axes in figure.axes)

    def test_a_logarithmic_axis_on_request(self, model):
        assert plot_losses(model, ["reconstruction"], log=True).axes[0].get_yscale() == "log"

    def test_every_column_has_a_label_and_an_unknown_one_is_refused(self, model):
        assert set(plots.LOSS_LABELS) == set(HISTORY_COLUMNS)
        with pytest.raises(SinGANError, match="critic_real"):
            plot_losses(model, ["d_real"])

    def test_levels_that_are_not_there_and_models_without_history_are_refused(self, model):
        with pytest.raises(SinGANError, match="no level 9"):
            plot_losses(model, ["critic_real"], levels=[9])
        levels = [type(level)(level.generator, level.discriminator, level.amplitude) for level in model.levels]
        with pytest.raises(SinGANError, match="no history"):
            plot_losses(SinGAN(model.config, model.shape, model.z_star, levels), ["critic_real"])

    def test_what_is_no_model_is_refused(self):
        with pytest.raises(SinGANError, match=r"SinGAN.* got Tensor"):
            plot_losses(picture(), ["critic_real"])


class TestCurves:
    def test_every_panel_has_its_title_and_the_curves_by_name(self):
        panels = [{"a": np.arange(4.0), "b": np.ones(4)}, {"a": np.zeros(3), "b": np.arange(3.0)}]
        figure = plot_curves(panels, ["first", "second"])
        assert [axes.get_title() for axes in figure.axes] == ["first", "second"]
        for axes, curves in zip(figure.axes, panels, strict=True):
            assert [line.get_label() for line in axes.lines] == ["a", "b"]
            for line, values in zip(axes.lines, curves.values(), strict=True):
                np.testing.assert_array_equal(line.get_ydata(), values)
        assert figure.axes[0].lines[0].get_color() == figure.axes[1].lines[0].get_color()

    def test_axes_are_shared_or_not(self):
        panels = [{"a": np.arange(4.0)}, {"a": 100 * np.arange(4.0)}]
        for same_scale, count in ((True, 1), (False, 2)):
            figure = plot_curves(panels, ["1", "2"], same_scale=same_scale)
            assert len({axes.get_ylim() for axes in figure.axes}) == count

    def test_iterations_are_counted_from_where_the_curves_begin(self):
        (line,) = plot_curves([{"a": np.ones(4)}], ["1"], first=420, smooth=2).axes[0].lines
        np.testing.assert_array_equal(line.get_xdata(), [422, 423, 424])

    @pytest.mark.parametrize(("count", "rows"), [(1, [1]), (4, [4]), (5, [3, 2]), (6, [3, 3]), (9, [3, 3, 3])])
    def test_rows_have_at_most_four_panels_and_about_equal_length(self, count, rows):
        figure = plot_curves([{"a": np.arange(3.0)}] * count, [""] * count)
        found = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
        assert [found.count(row) for row in range(len(rows))] == rows

    @pytest.mark.parametrize(
        ("panels", "titles"),
        [
            ([], []),
            ([{}], ["1"]),
            ([{"a": np.ones(2)}], ["1", "2"]),
            ([{"a": np.ones(2)}, {"b": np.ones(2)}], ["1", "2"]),
            ([{str(number): np.ones(2) for number in range(8)}], ["1"]),
        ],
    )
    def test_panels_that_do_not_fit_together_are_refused(self, panels, titles):
        with pytest.raises(SinGANError):
            plot_curves(panels, titles)


class TestFiles:
    def test_a_figure_is_written_under_its_profile_as_png(self, figures):
        path = save_figure(show_images(picture()), "00_samples", "smoke")
        assert path == figures / "smoke" / "00_samples.png"
        with Image.open(path) as written:
            assert written.format == "PNG"

    def test_the_notebook_shows_the_file_bit_by_bit_and_writing_again_changes_nothing(self, figures, model):
        figure = plot_losses(model, ["critic_real"])
        first = save_figure(figure, "a", "smoke").read_bytes()
        assert save_figure(plot_losses(model, ["critic_real"]), "a", "smoke").read_bytes() == first
        assert figure._repr_png_() == first

    def test_a_notebook_shows_photographs_once_as_jpeg_and_close_to_the_file(self, figures):
        figure = show_images(picture())
        data, _ = IPython.core.formatters.DisplayFormatter().format(figure)
        assert {kind for kind in data if kind.startswith("image/")} == {"image/jpeg"}
        shown = np.asarray(Image.open(io.BytesIO(data["image/jpeg"])), dtype=float)
        written = np.asarray(Image.open(save_figure(figure, "a", "smoke")), dtype=float)
        assert np.abs(shown - written).mean() < 5  # of 255, for a picture of noise

    def test_figures_are_kept_in_the_checkout_unless_told_otherwise(self, monkeypatch):
        monkeypatch.delenv("SINGAN_FIGURES", raising=False)
        folder = figures_folder("laptop")
        assert (folder.parts[-2:], (folder.parents[1] / "pyproject.toml").exists()) == (("figures", "laptop"), True)

    def test_a_run_with_another_seed_or_picture_has_a_folder_of_its_own(self, figures, monkeypatch):
        monkeypatch.setenv("SINGAN_VARIANT", "drawn_hills-seed1")
        assert figures_folder("smoke") == figures / "smoke" / "drawn_hills-seed1"
        assert profile_folder("smoke") == figures / "smoke"

    def test_figures_may_lie_at_home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SINGAN_FIGURES", "~/figures")
        assert profile_folder("smoke") == tmp_path / "figures" / "smoke"

    @pytest.mark.parametrize("variant", ["..", "a/b", "Seed1", "seed 1", "seed1\n"])
    def test_variants_that_are_no_plain_names_are_refused(self, figures, monkeypatch, variant):
        monkeypatch.setenv("SINGAN_VARIANT", variant)
        with pytest.raises(SinGANError, match="SINGAN_VARIANT"):
            figures_folder("smoke")

    @pytest.mark.parametrize("figure", [None, b"png", "a"])
    def test_what_is_no_figure_is_refused(self, figures, figure):
        with pytest.raises(SinGANError, match=f"figure.* got {type(figure).__name__}"):
            save_figure(figure, "a", "smoke")
        assert not any(figures.rglob("*.png"))

    @pytest.mark.parametrize("name", ["", "a.png", "../a", "A", "a b", None, 3])
    def test_names_that_are_no_plain_names_are_refused(self, figures, name):
        with pytest.raises(SinGANError, match="figure's name"):
            save_figure(show_images(picture()), name, "smoke")

    @pytest.mark.parametrize("profile", ["Laptop", "x/../../y"])
    def test_unknown_profiles_are_refused(self, figures, profile):
        with pytest.raises(SinGANError, match="no profile"):
            save_figure(show_images(picture()), "a", profile)

    def test_a_place_that_cannot_be_written_is_named(self, figures):
        (figures / "smoke").write_text("a file, not a folder")
        with pytest.raises(SinGANError, match=r"Cannot write .*a\.png"):
            save_figure(show_images(picture()), "a", "smoke")


class TestLivePlot:
    def test_outside_of_a_notebook_it_does_nothing(self, model, reports):
        live = LivePlot()
        live(reports[0])
        assert (live.handle, live.pictures) == (None, [])

    def test_in_a_notebook_one_figure_is_shown_and_then_updated(self, model, reports, notebook):
        live = LivePlot(seconds=0)
        for report in reports:
            live(report)
        assert [how for how, _ in notebook] == ["new"] + ["update"] * (len(reports) - 1)

    def test_between_two_drawings_the_time_passes_that_was_asked_for_but_the_end_of_a_level_is_drawn(
        self, model, reports, notebook
    ):
        live = LivePlot(seconds=1000)
        half = Progress(**(vars(reports[-1]) | {"iteration": 3}))
        for report in (half, half, reports[-1]):
            live(report)
        assert len(notebook) == 2

    def test_the_figure_has_a_picture_per_finished_level_and_the_losses_of_all_levels(self, model, reports):
        pictures = [model.sample(1, stop_scale=level) for level in range(len(model.levels))]
        *above, losses = plot_progress(reports[-1], ["critic_real"], pictures).axes
        for axes, sample in zip(above, pictures, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), to_array(sample))
        ends = [line.get_xdata()[0] for line in losses.lines if len(line.get_xdata()) == 2]
        assert ends == [5 * (level + 1) for level in range(len(model.levels))]
        curves = [line for line in losses.lines if line.get_label() == "D(x)"]
        assert [curve.get_xdata()[0] for curve in curves] == [1 + 5 * level for level in range(len(model.levels))]
        for curve, level in zip(curves, model.levels, strict=True):
            np.testing.assert_allclose(curve.get_ydata(), level.history[:, 0])

    def test_at_the_end_of_a_level_its_losses_are_drawn_once(self, model, reports):
        at_end = SinGAN(model.config, model.shape, model.z_star, model.levels[:2])
        report = Progress(**(vars(reports[-1]) | {"level": 1, "model": at_end, "history": model.levels[1].history}))
        *_, losses = plot_progress(report, ["critic_real"], []).axes
        curves = [line for line in losses.lines if line.get_label() == "D(x)"]
        assert [curve.get_xdata()[0] for curve in curves] == [1, 6]

    def test_levels_without_losses_are_left_out(self, model, reports):
        published = [replace(model.levels[0], history=None), *model.levels[1:]]
        report = Progress(**(vars(reports[-1]) | {"model": replace(model, levels=published)}))
        *_, losses = plot_progress(report, ["critic_real"], []).axes
        curves = [line for line in losses.lines if line.get_label() == "D(x)"]
        assert [curve.get_xdata()[0] for curve in curves] == [1 + 5 * level for level in range(1, len(model.levels))]

    def test_it_leaves_the_training_as_it_is(self, config, model, notebook):
        watched = train(picture(), config, progress=False, callback=LivePlot(seconds=0))
        assert torch.equal(watched.sample(1), model.sample(1))

    def test_an_unknown_column_is_refused_before_the_training_starts(self):
        with pytest.raises(SinGANError, match="no loss"):
            LivePlot(["loss"])


class TestTable:
    rows = [  # noqa: RUF012
        {"level": 0, "share": 0.44, "parameters": 29763, "sure": True},
        {"level": 10, "share": 0.1375, "parameters": 1234.5, "note": "a < b"},
    ]

    def test_text_is_aligned_numbers_to_the_right_and_words_to_the_left(self):
        assert repr(table(self.rows)).split("\n") == [
            "level  share  parameters  sure  note",
            "-----  -----  ----------  ----  -----",
            "    0  0.440      29,763   yes",
            "   10  0.138       1,234        a < b",
        ]

    def test_a_note_stands_below(self):
        noted = table([{"x": 1}], note="All are < 2, " + "and so on, " * 12)
        lines = repr(noted).split("\n")
        assert lines[:4] == ["x", "-", "1", ""] and lines[4].startswith("All are < 2, ") and len(lines) == 6
        assert noted._repr_html_().endswith("and so on, </p>") and "All are &lt; 2" in noted._repr_html_()
        assert "<p>" not in table([{"x": 1}])._repr_html_()

    def test_html_has_every_cell_and_escapes_it(self):
        text = table(self.rows)._repr_html_()
        assert text.count("<tr>") == 3 and text.count("<td") == 10
        assert "a &lt; b" in text and "a < b" not in text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Interval(0.5, 0.25, 0.75, 3), "0.500 [0.250, 0.750]"),
            (-0.000123456, "-0.000123"),
            (12345.6, "12,346"),
            (123.4, "123"),
            (999.4, "999"),
            (999.6, "1,000"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (np.float32(0.5), "0.500"),
            (np.int64(1000), "1,000"),
            (False, "no"),
            (None, ""),
        ],
    )
    def test_values_are_written_with_three_significant_digits(self, value, text):
        assert table([{"x": value}]).cells == [[text]]

    def test_one_row_is_a_list_of_one(self):
        with pytest.raises(SinGANError, match="list of at least one row"):
            table({"x": 1})

    def test_a_table_without_rows_is_refused(self):
        with pytest.raises(SinGANError, match="row"):
            table([])


def test_new_figures_have_the_palette_and_one_or_many_axes():
    figure, axes = new_figure(height=2.5)
    axes.plot([0, 1])
    assert axes.lines[0].get_color() == plots.COLOURS[0]
    assert tuple(figure.get_size_inches()) == (WIDTH, 2.5)
    assert new_figure(columns=3, sharey=True)[1].shape == (3,)


def test_pyplot_and_its_global_state_are_not_touched():
    code = "import sys, singan_core.plots; sys.exit('matplotlib.pyplot' in sys.modules or 'IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def sweep_rows() -> list[dict[str, object]]:
    return [
        {"alpha": "0", "distance": Interval(0.3, 0.2, 0.5, 3), "seconds": 4.0},
        {"alpha": "0.1", "distance": Interval(0.2, -np.inf, np.inf, 1), "seconds": 5.0},
        {"alpha": "10", "distance": Interval(0.1, 0.05, 0.2, 3)},
    ]


def test_sweep_has_a_panel_per_quantity_with_a_point_per_row_that_has_it():
    figure = plot_sweep(sweep_rows(), "alpha", ["distance", "seconds"])
    assert [axes.get_title() for axes in figure.axes] == ["distance", "seconds"]
    assert [len(axes.lines[0].get_ydata()) for axes in figure.axes] == [3, 2]
    assert all(axes.get_xlabel() == "alpha" for axes in figure.axes)


def test_sweep_draws_intervals_as_bars_and_none_for_a_single_value():
    (bars,) = plot_sweep(sweep_rows(), "alpha", ["distance"]).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.2, 0.5]), pytest.approx([0.2, 0.2]), pytest.approx([0.05, 0.2])]


@given(st.lists(st.tuples(*3 * [st.floats(-1e6, 1e6)]), min_size=1, max_size=9))
def test_error_bars_are_drawn_between_the_ends_of_the_intervals(triples):
    intervals = [Interval(mean, low, high, 3) for low, mean, high in map(sorted, triples)]
    _, (upright, across) = new_figure(columns=2)
    means, bars = error_bars(intervals)
    upright.errorbar(range(len(intervals)), means, bars)
    across.errorbar(means, range(len(intervals)), xerr=bars)
    expected = np.array([(each.low, each.high) for each in intervals])
    for axes, axis in ((upright, 1), (across, 0)):
        (drawn,) = axes.collections
        ends = np.array(drawn.get_segments())[:, :, axis]
        np.testing.assert_allclose(ends, expected, rtol=1e-9, atol=1e-9)


def test_error_bars_of_a_single_value_and_of_no_interval_have_no_length():
    means, bars = error_bars([Interval(0.2, -np.inf, np.inf, 1)])
    assert means.tolist() == [0.2] and bars.tolist() == [[0.0], [0.0]]
    assert [part.shape for part in error_bars([])] == [(0,), (2, 0)]


def test_sweep_puts_numbers_where_they_belong_and_texts_at_equal_distances():
    numbers = [{"factor": value, "levels": 3} for value in (0.4, 0.5, 0.8)]
    assert list(plot_sweep(numbers, "factor", ["levels"]).axes[0].lines[0].get_xdata()) == [0.4, 0.5, 0.8]
    axes = plot_sweep(sweep_rows(), "alpha", ["distance"], log=True).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.1", "10"]
    assert axes.get_yscale() == "log"


def test_sweep_over_levels_has_no_ticks_between_them():
    rows = [{"level": level, "distance": 0.1} for level in (0, 1, 2)]
    figure = plot_sweep(rows, "level", ["distance"])
    figure.canvas.draw()
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())


@given(st.lists(st.floats(0.5, 1e6), min_size=1, max_size=6), st.floats(0.5, 1e6))
def test_sweep_begins_at_zero_also_when_a_line_is_added(values, ruler):
    (axes,) = plot_sweep([{"alpha": 1.0 + n, "rmse": value} for n, value in enumerate(values)], "alpha", ["rmse"]).axes
    axes.axhline(ruler)
    bottom, top = axes.get_ylim()
    assert bottom == 0
    assert top > max(*values, ruler)


def test_sweep_over_negative_values_shows_them():
    (axes,) = plot_sweep([{"alpha": 1.0, "rmse": -2.0}, {"alpha": 2.0, "rmse": 3.0}], "alpha", ["rmse"]).axes
    bottom, top = axes.get_ylim()
    assert bottom < -2 and top > 3


def test_sweep_without_a_value_is_refused():
    with pytest.raises(SinGANError, match="no row has both 'alpha' and 'rmse'"):
        plot_sweep(sweep_rows(), "alpha", ["rmse"])
