"""Make the inputs of the applications from the pictures in data/images: editing, harmonization, painting, sketching.

    edit_<base>        a copy of <base> with patches cut out and pasted elsewhere, seams left visible
    harmonize_<base>   <base> with an object in another style pasted in
    paint_<base>       a clip-art in flat colours with the layout of <base>
    sketch_<base>      dark edge lines of <base> on white

The first two come with <name>_mask, which is set where the composite may differ from its base; outside it they are
equal. All are as large as their base. Nothing here is random.

    python data/make_composites.py
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from image_files import DATA, IMAGES, read_rgb, save_png, write_checksums
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.draw import polygon2mask
from skimage.feature import canny

Point = tuple[float, float]
Color = tuple[int, int, int]


# --------------------------------------------------------------------------------------------- editing


@dataclass(frozen=True)
class Patch:
    """A part of a picture to copy: its outline as (x, y) points in pixels, and the shift (x, y) to where it goes."""

    outline: tuple[Point, ...]
    shift: tuple[int, int]


EDITS = {
    # A second spruce in front of the larches, and a summit added to the left end of the ridge.
    "mountains": (
        Patch(
            (
                (822, 248),
                (842, 290),
                (858, 326),
                (876, 342),
                (870, 364),
                (858, 396),
                (846, 440),
                (836, 476),
                (764, 476),
                (754, 440),
                (754, 396),
                (772, 384),
                (776, 350),
                (792, 314),
                (804, 280),
            ),
            (-440, 30),
        ),
        Patch(((528, 118), (540, 70), (586, 38), (640, 52), (664, 92), (660, 140), (596, 152)), (-330, 0)),
    ),
    # The highest peak once more on the right, and a group of conifers moved into the meadow.
    "drawn_hills": (
        Patch(((174, 196), (186, 158), (206, 112), (232, 112), (252, 150), (256, 188)), (134, 10)),
        Patch(((146, 348), (150, 262), (176, 208), (206, 208), (218, 300), (210, 348)), (130, 22)),
    ),
}


def polygon_mask(points: tuple[Point, ...], shape: tuple[int, int]) -> np.ndarray:
    """Boolean mask of `shape` = (height, width), set inside the polygon with these (x, y) corners in pixels."""
    return polygon2mask(shape, np.array([(y, x) for x, y in points]))


def make_edit(base: np.ndarray, patches: tuple[Patch, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Copy each patch of `base` (H, W, 3) to its new place: the composite, uint8, and the mask (H, W), boolean.

    The patches must stay inside the picture.
    """
    composite, mask = base.copy(), np.zeros(base.shape[:2], dtype=bool)
    for patch in patches:
        rows, columns = np.nonzero(polygon_mask(patch.outline, base.shape[:2]))
        target = rows + patch.shift[1], columns + patch.shift[0]
        composite[target] = base[rows, columns]
        mask[target] = True
    return composite, mask


# --------------------------------------------------------------------------------------- harmonization


@dataclass(frozen=True)
class Balloon:
    """A hot-air balloon: middle of its envelope (x, y) and radius in pixels, and the colours of its stripes."""

    center: Point
    radius: float
    colors: tuple[Color, Color]


BALLOONS = {
    "drawn_lake": Balloon((228.0, 118.0), 50.0, ((226, 40, 44), (250, 250, 246))),
    "sunset": Balloon((190.0, 150.0), 62.0, ((28, 120, 226), (250, 214, 40))),
}
BASKET: Color = (134, 88, 46)


def draw_balloon(balloon: Balloon, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a balloon with clean edges and smooth shading: colours (H, W, 3), 0 to 255, and its coverage (H, W), 0 to 1.

    Drawn at four times the size, in the box that holds it, and averaged.
    """
    fine = 4
    box = (
        slice(int(balloon.center[1] - balloon.radius) - 1, int(balloon.center[1] + 2.1 * balloon.radius) + 2),
        slice(int(balloon.center[0] - balloon.radius) - 1, int(balloon.center[0] + balloon.radius) + 2),
    )
    rows, columns = np.mgrid[tuple(slice(fine * side.start, fine * side.stop) for side in box)]
    x = ((columns + 0.5) / fine - balloon.center[0]) / balloon.radius
    y = ((rows + 0.5) / fine - balloon.center[1]) / balloon.radius
    # The envelope: a round top, and below the middle flanks that narrow to the mouth at y = 1.45.
    half = np.where(y < 0.0, np.sqrt(np.clip(1 - y**2, 0, None)), np.cos(np.clip(y, 0, None) * 0.92))
    envelope = (np.abs(x) < half) & (y > -1) & (y < 1.45)
    ropes = (np.abs(np.abs(x) - (0.22 - 0.10 * (y - 1.45) / 0.35)) < 0.022) & (y >= 1.45) & (y < 1.82)
    basket = (np.abs(x) < 0.17) & (y >= 1.80) & (y < 2.10)
    # Ten gores around the envelope: where on the round surface the point lies decides the stripe and the light.
    across = np.clip(x / np.maximum(half, 1e-6), -1, 1)
    stripe = np.floor((np.arcsin(across) / np.pi + 0.5) * 10 - 1e-9).astype(int) % 2
    color = np.asarray(balloon.colors, dtype=float)[stripe]
    light = 0.70 + 0.38 * np.sqrt(np.clip(1 - (across + 0.35) ** 2, 0, 1)) - 0.10 * np.clip(y, 0, 1)
    color = color * light[..., None]
    color[ropes] = (60, 50, 44)
    weave = 1 + 0.16 * np.sign(np.sin(34 * y) * np.sin(40 * x))
    color[basket] = (np.asarray(BASKET) * weave[..., None])[basket]

    def average(values: np.ndarray) -> np.ndarray:
        height, width = (side.stop - side.start for side in box)
        return values.reshape(height, fine, width, fine, -1).mean(axis=(1, 3))

    inside = (envelope | ropes | basket).astype(float)
    covered = average(inside)
    colors, coverage = np.zeros((*shape, 3)), np.zeros(shape)
    colors[box] = np.clip(average(color * inside[..., None]) / np.maximum(covered, 1e-9), 0, 255)
    coverage[box] = covered[..., 0]
    return colors, coverage


def make_harmonize(base: np.ndarray, balloon: Balloon) -> tuple[np.ndarray, np.ndarray]:
    """Paste a balloon into `base` (H, W, 3): the composite, uint8, and the mask (H, W), boolean.

    The mask holds every pixel that the balloon covers at least by half; the others stay as they are.
    """
    colors, coverage = draw_balloon(balloon, base.shape[:2])
    mask = coverage >= 0.5
    blended = coverage[..., None] * colors + (1 - coverage[..., None]) * base
    return np.where(mask[..., None], np.rint(blended).astype(np.uint8), base), mask


# -------------------------------------------------------------------------------------------- painting

# Flat shapes from back to front. Corners are (x, y) as fractions of width and height.
Shape = tuple[Color, tuple[Point, ...]]


def spruce(x: float, foot: float, height: float, color: Color) -> Shape:
    """A conifer of three tiers that stands at (x, foot)."""
    wide = 0.17 * height
    right = ((0.0, 1.0), (0.55, 0.66), (0.28, 0.66), (0.8, 0.33), (0.42, 0.33), (1.0, 0.0))
    outline = [(x + wide * across, foot - height * up) for across, up in right]
    return color, (*outline, *[(2 * x - px, py) for px, py in reversed(outline)])


PAINTS: dict[str, tuple[Color, tuple[Shape, ...]]] = {
    "mountains": (
        (222, 231, 240),
        (
            # Two clouds.
            ((200, 212, 226), ((0.22, 0.09), (0.27, 0.05), (0.36, 0.05), (0.43, 0.08), (0.36, 0.10))),
            ((200, 212, 226), ((0.86, 0.05), (0.92, 0.02), (1.0, 0.02), (1.0, 0.07), (0.91, 0.08))),
            # The range, its sunlit rock and the scree below.
            (
                (112, 114, 140),
                (
                    (0.0, 0.27),
                    (0.10, 0.19),
                    (0.22, 0.14),
                    (0.33, 0.16),
                    (0.44, 0.10),
                    (0.52, 0.12),
                    (0.60, 0.05),
                    (0.66, 0.13),
                    (0.76, 0.09),
                    (0.84, 0.14),
                    (0.93, 0.11),
                    (1.0, 0.18),
                    (1.0, 0.75),
                    (0.0, 0.75),
                ),
            ),
            (
                (172, 168, 172),
                (
                    (0.42, 0.12),
                    (0.44, 0.10),
                    (0.52, 0.12),
                    (0.60, 0.05),
                    (0.66, 0.13),
                    (0.70, 0.23),
                    (0.64, 0.19),
                    (0.60, 0.26),
                    (0.55, 0.18),
                    (0.50, 0.24),
                ),
            ),
            (
                (172, 168, 172),
                (
                    (0.72, 0.11),
                    (0.76, 0.09),
                    (0.84, 0.14),
                    (0.93, 0.11),
                    (1.0, 0.18),
                    (1.0, 0.28),
                    (0.92, 0.23),
                    (0.85, 0.31),
                    (0.79, 0.22),
                ),
            ),
            (
                (172, 168, 172),
                ((0.10, 0.19), (0.22, 0.14), (0.29, 0.15), (0.25, 0.21), (0.20, 0.18), (0.15, 0.24)),
            ),
            ((190, 186, 184), ((0.45, 0.29), (0.48, 0.30), (0.55, 0.40), (0.44, 0.40))),
            ((92, 98, 124), ((0.0, 0.36), (0.25, 0.31), (0.55, 0.46), (0.80, 0.44), (1.0, 0.37), (1.0, 0.8), (0, 0.8))),
            # The larch wood in two tones.
            (
                (196, 128, 58),
                (
                    (0.0, 0.23),
                    (0.04, 0.20),
                    (0.07, 0.27),
                    (0.11, 0.25),
                    (0.14, 0.32),
                    (0.18, 0.30),
                    (0.22, 0.36),
                    (0.26, 0.33),
                    (0.30, 0.39),
                    (0.34, 0.37),
                    (0.38, 0.44),
                    (0.42, 0.41),
                    (0.46, 0.48),
                    (0.50, 0.46),
                    (0.54, 0.53),
                    (0.58, 0.51),
                    (0.62, 0.57),
                    (0.66, 0.56),
                    (0.72, 0.63),
                    (0.74, 0.76),
                    (0.0, 0.76),
                ),
            ),
            (
                (158, 96, 46),
                (
                    (0.0, 0.44),
                    (0.05, 0.38),
                    (0.09, 0.48),
                    (0.15, 0.43),
                    (0.20, 0.52),
                    (0.26, 0.48),
                    (0.32, 0.57),
                    (0.39, 0.53),
                    (0.45, 0.62),
                    (0.52, 0.60),
                    (0.60, 0.68),
                    (0.68, 0.67),
                    (0.72, 0.76),
                    (0.0, 0.76),
                ),
            ),
            # Spruces and the bushes on the right.
            spruce(0.91, 0.72, 0.34, (44, 66, 50)),
            spruce(0.80, 0.76, 0.38, (36, 58, 44)),
            (
                (178, 118, 52),
                (
                    (0.79, 0.78),
                    (0.80, 0.68),
                    (0.84, 0.60),
                    (0.88, 0.58),
                    (0.91, 0.49),
                    (0.96, 0.44),
                    (1.0, 0.42),
                    (1.0, 0.84),
                ),
            ),
            # The meadow, with a darker foreground.
            (
                (84, 140, 52),
                (
                    (0.0, 0.64),
                    (0.14, 0.64),
                    (0.30, 0.66),
                    (0.50, 0.70),
                    (0.70, 0.74),
                    (0.86, 0.76),
                    (1.0, 0.80),
                    (1.0, 1.0),
                    (0.0, 1.0),
                ),
            ),
            (
                (66, 118, 44),
                ((0.0, 0.84), (0.20, 0.80), (0.44, 0.86), (0.70, 0.84), (1.0, 0.92), (1.0, 1.0), (0.0, 1.0)),
            ),
        ),
    ),
}


def make_paint(shape: tuple[int, int], background: Color, shapes: tuple[Shape, ...]) -> np.ndarray:
    """Fill the shapes one over the other in flat colours, without smoothing: (H, W, 3) uint8 for shape = (H, W)."""
    height, width = shape
    picture = np.full((height, width, 3), background, dtype=np.uint8)
    for color, corners in shapes:
        picture[polygon_mask(tuple((x * width, y * height) for x, y in corners), shape)] = color
    return picture


# ------------------------------------------------------------------------------------------- sketching

SKETCHES = ("mountains", "paint_mountains")


def photo_edges(photo: np.ndarray, sigma: float = 4.5) -> np.ndarray:
    """Edges of a photograph (H, W, 3) as thin lines: boolean (H, W). `sigma` is the blur before them, in pixels.

    Canny edges of lightness and of both colour channels (CIELAB), so that a boundary between two colours of the same
    lightness counts too. Pieces shorter than 50 px are left out.
    """
    lightness, *colors = np.moveaxis(rgb2lab(photo), -1, 0)
    edges = canny(lightness, sigma=sigma, low_threshold=4, high_threshold=10, mode="nearest")
    for channel in colors:
        edges |= canny(channel, sigma=sigma, low_threshold=3, high_threshold=7, mode="nearest")
    pieces, count = ndimage.label(edges, structure=np.ones((3, 3)))
    lengths = ndimage.sum_labels(edges, pieces, np.arange(count + 1))
    return lengths[pieces] >= 50


def flat_edges(paint: np.ndarray) -> np.ndarray:
    """Outlines of the shapes in a picture (H, W, 3) of flat colours: boolean (H, W)."""
    edges = np.zeros(paint.shape[:2], dtype=bool)
    edges[:-1] |= (paint[1:] != paint[:-1]).any(axis=-1)
    edges[:, :-1] |= (paint[:, 1:] != paint[:, :-1]).any(axis=-1)
    return edges


def draw_lines(edges: np.ndarray) -> np.ndarray:
    """Draw thin edges, boolean (H, W), as dark lines on white: (H, W, 3) uint8, gray.

    The lines are about six pixels wide, so that they are still there in a picture reduced to 128 px.
    """
    darkness = 0.85 * np.clip(3.5 - ndimage.distance_transform_edt(~edges), 0, 1)
    gray = np.rint(255 * (1 - darkness)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)


# ------------------------------------------------------------------------------------------- all files


def find_picture(folder: Path, name: str) -> Path:
    """Return the path of the picture called `name` in the folder, be it JPEG or PNG."""
    for suffix in (".jpg", ".png"):
        if (folder / f"{name}{suffix}").exists():
            return folder / f"{name}{suffix}"
    raise FileNotFoundError(f"There is no picture called {name} in {folder}.")


def make_composites(source: Path, output: Path) -> None:
    """Read the base pictures in the folder `source` and write all composites, paints and sketches to `output`."""
    for base, patches in EDITS.items():
        composite, mask = make_edit(read_rgb(find_picture(source, base)), patches)
        save_png(composite, output / f"edit_{base}.png")
        save_png(mask, output / f"edit_{base}_mask.png")
    for base, balloon in BALLOONS.items():
        composite, mask = make_harmonize(read_rgb(find_picture(source, base)), balloon)
        save_png(composite, output / f"harmonize_{base}.png")
        save_png(mask, output / f"harmonize_{base}_mask.png")
    for base, (background, shapes) in PAINTS.items():
        size = read_rgb(find_picture(source, base)).shape[:2]
        save_png(make_paint(size, background, shapes), output / f"paint_{base}.png")
    for base in SKETCHES:
        if base.startswith("paint_"):
            edges = flat_edges(read_rgb(output / f"{base}.png"))
        else:
            edges = photo_edges(read_rgb(find_picture(source, base)))
        save_png(draw_lines(edges), output / f"sketch_{base}.png")


def main() -> None:
    make_composites(IMAGES, IMAGES)
    write_checksums(IMAGES, DATA / "checksums.sha256")


if __name__ == "__main__":
    main()
