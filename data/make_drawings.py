"""Draw the three scenes of data/images whose object masks are known exactly: hills, pebbles and a painted lake.

Each scene is drawn at twice its size and reduced by averaging 2 x 2 pixels, so that edges are smooth. The mask is
computed from the same shapes: a pixel belongs to it when at least half of its area does. Everything follows from the
seeds below, and nothing but numpy and scipy is needed.

    python data/make_drawings.py
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from image_files import DATA, IMAGES, save_png, write_checksums
from scipy import ndimage

HEIGHT, WIDTH = 384, 512
OVERSAMPLING = 2
H, W = HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING

Color = tuple[float, float, float]


def reduce(canvas: np.ndarray) -> np.ndarray:
    """Average blocks of 2 x 2 pixels: (H, W) or (H, W, 3) -> half the height and width."""
    height, width = canvas.shape[0] // OVERSAMPLING, canvas.shape[1] // OVERSAMPLING
    blocks = canvas.reshape(height, OVERSAMPLING, width, OVERSAMPLING, -1)
    return blocks.mean(axis=(1, 3)).reshape(height, width, *canvas.shape[2:])


def finish(canvas: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce canvas (H, W, 3), values 0 to 255, and boolean mask (H, W): a uint8 picture and a boolean mask."""
    return np.rint(np.clip(reduce(canvas), 0, 255)).astype(np.uint8), reduce(mask.astype(float)) >= 0.5


def noise(rng: np.random.Generator, shape: tuple[int, ...], sigmas: list[float], stretch: float = 1.0) -> np.ndarray:
    """Smooth noise with mean 0 and standard deviation 1: white noise blurred by each sigma (px), wide ones strongest.

    `stretch` > 1 makes the spots of 2-D noise that many times wider than they are high.
    """
    total = np.zeros(shape)
    for sigma in sigmas:
        axes = (sigma, sigma * stretch) if len(shape) == 2 else sigma
        layer = ndimage.gaussian_filter(rng.standard_normal(shape), axes, mode="wrap")
        total += layer / layer.std() * np.sqrt(sigma)
    return (total - total.mean()) / total.std()


def mix(first: np.ndarray | Color, second: np.ndarray | Color, amount: np.ndarray) -> np.ndarray:
    """Blend two colours (3,) or pictures (..., 3) by `amount` (...,) in [0, 1]: 0 gives the first."""
    amount = np.clip(amount, 0, 1)[..., None]
    return (1 - amount) * np.asarray(first, dtype=float) + amount * np.asarray(second, dtype=float)


def gradient(position: np.ndarray, stops: list[tuple[float, Color]]) -> np.ndarray:
    """Colours (..., 3) along a row of (position, colour) stops."""
    at = [stop[0] for stop in stops]
    return np.stack([np.interp(position, at, [stop[1][channel] for stop in stops]) for channel in range(3)], axis=-1)


def ridge(rng: np.random.Generator, level: float, amplitude: float, sigmas: list[float]) -> np.ndarray:
    """Height line of a hill or mountain: one row number for each column of the canvas, shape (W,)."""
    return level * H - amplitude * H * noise(rng, (W,), sigmas)


# ----------------------------------------------------------------------------------------------- hills


def draw_conifer(
    canvas: np.ndarray, mask: np.ndarray, rng: np.random.Generator, foot: tuple[float, float], size: float, color: Color
) -> None:
    """Draw a conifer `size` pixels high that stands at foot = (row, column), on canvas and mask in place."""
    row, column = foot
    half = 0.27 * size
    top, bottom = max(int(row - size), 0), min(int(row) + 1, H)
    left, right = max(int(column - half) - 1, 0), min(int(column + half) + 2, W)
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right].astype(float)
    along = np.clip((rows - (row - size)) / size, 0, 1)  # 0 at the tip, 1 at the foot
    across = columns - column
    tiers = max(5, round(size / 15))
    # Branches hang: each tier widens downward and is lower on the outside. The noise makes its edge ragged.
    phase = ((along - 0.07 * np.abs(across) / half) / 0.92 * tiers) % 1.0
    width = half * along**0.85 * (0.62 + 0.38 * phase)
    ragged = noise(rng, along.shape, [1.2]) * 0.04 * size * np.sqrt(along)
    crown = (np.abs(across) < width + ragged) & (along < 0.92)
    trunk = (np.abs(across) < 0.03 * size) & (along >= 0.9)
    light = 0.72 + 0.38 * phase - 0.30 * across / half + 0.16 * noise(rng, along.shape, [1.0, 3.0])
    patch = canvas[top:bottom, left:right]
    patch[crown] = (np.asarray(color) * light[..., None])[crown]
    patch[trunk] = np.asarray((84.0, 62.0, 44.0)) * (1 - 0.35 * across[trunk] / (0.03 * size))[:, None]
    mask[top:bottom, left:right] |= crown | trunk


def draw_meadow(canvas: np.ndarray, rng: np.random.Generator, line: np.ndarray) -> None:
    """Draw blades of grass and flowers on the canvas, in place, below the height line (W,)."""
    blades = 26000
    columns = rng.integers(0, W, blades)
    rows = line[columns] + rng.random(blades) ** 0.8 * (H - line[columns])
    lengths = 3 + 15 * (rows / H - 0.6).clip(0) / 0.4 * (0.6 + 0.8 * rng.random(blades))
    leaning = rng.standard_normal(blades) * 0.25
    greens = mix((52.0, 96.0, 30.0), (172.0, 190.0, 74.0), rng.random(blades))
    # From far to near, so that near blades cover far ones.
    for index in np.argsort(rows):
        steps = np.arange(int(lengths[index]))
        blade_rows = (rows[index] - steps).astype(int)
        blade_columns = (columns[index] + leaning[index] * steps).astype(int)
        inside = (blade_rows >= 0) & (blade_rows < H) & (blade_columns >= 0) & (blade_columns < W)
        inside &= blade_rows > line[blade_columns.clip(0, W - 1)]
        shade = (0.72 + 0.4 * steps / max(len(steps), 1))[:, None]
        canvas[blade_rows[inside], blade_columns[inside]] = (greens[index] * shade)[inside]
    palette = np.array([(238.0, 222.0, 90.0), (240.0, 240.0, 232.0), (212.0, 74.0, 60.0)])
    for _ in range(420):
        column = int(rng.integers(4, W - 4))
        row = int(line[column] + 12 + rng.random() * (H - line[column] - 18))
        radius = 1 + round(3.0 * (row / H - 0.7) / 0.3)
        rows_near, columns_near = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = rows_near**2 + columns_near**2 <= radius**2
        inside = disk & (row + rows_near < H)
        canvas[row + rows_near[inside], column + columns_near[inside]] = palette[rng.integers(3)] * (
            1.0 - 0.18 * (rows_near[inside] > 0)[:, None]
        )


def draw_hills(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sky, sun, five ranges of wooded hills and a meadow. The mask holds the conifers.

    Returns the picture (HEIGHT, WIDTH, 3) uint8 and the mask (HEIGHT, WIDTH) bool.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:H, 0:W].astype(float)
    canvas = gradient(rows / H, [(0.0, (74, 134, 200)), (0.32, (160, 200, 226)), (0.55, (244, 226, 196))])
    distance = np.hypot(rows - 0.20 * H, columns - 0.73 * W)
    canvas = mix(canvas, (255, 240, 200), 0.75 * np.exp(-distance / (0.11 * H)))
    clouds = noise(rng, (H, W), [4, 9, 20, 44], stretch=2.6)
    cover = (clouds - 0.35 + 0.7 * (0.22 - rows / H)) / 1.1
    canvas = mix(canvas, gradient(clouds, [(0.2, (206, 214, 226)), (1.6, (255, 253, 248))]), 0.9 * cover)
    canvas = mix(canvas, (255, 246, 214), 1.2 * (0.052 * H - distance) / 4 + 0.5)
    mask = np.zeros((H, W), dtype=bool)

    # From far to near: height, roughness, colour; hazy blue far away, warm green near.
    ranges = [
        (0.46, 0.052, [3, 8, 22, 60], (150, 168, 196)),
        (0.53, 0.036, [6, 18, 50, 110], (112, 146, 158)),
        (0.60, 0.034, [40, 90], (92, 134, 110)),
        (0.69, 0.030, [60, 130], (86, 128, 70)),
        (0.80, 0.024, [90, 170], (112, 146, 58)),
    ]
    for number, (level, amplitude, sigmas, color) in enumerate(ranges):
        line = ridge(rng, level, amplitude, sigmas)
        below = rows > line
        depth = (rows - line) / H
        # A rough surface lit by the sun on the right; steep rock far away, soft meadows near.
        relief = noise(rng, (H, W), [2, 5, 14, 30], stretch=(0.6, 0.8, 1.4, 2.0, 2.0)[number])
        lit = ndimage.gaussian_filter(np.gradient(relief, axis=1), 1.0)
        light = 1.0 + (0.13, 0.08, 0.06, 0.05, 0.05)[number] * lit / lit.std() - 0.8 * depth + 0.03 * relief
        canvas = np.where(below[..., None], np.asarray(color) * light[..., None], canvas)
        mask &= ~below  # a hill hides the trees behind it
        if number == 0:
            continue
        if number == 4:
            draw_meadow(canvas, rng, line)
        size = (0, 26, 44, 84, 170)[number]
        feet = []
        for _ in range((0, 150, 95, 42, 13)[number]):
            column = rng.random() * W
            down = rng.random() * (0.05, 0.05, 0.07, 0.08, 0.13)[number] * H
            feet.append((line[int(column)] + 0.02 * H + down, column))
        haze = (4 - number) / 4
        green = np.asarray((38.0, 84.0, 52.0)) * (1 - 0.55 * haze) + np.asarray((120.0, 156.0, 160.0)) * 0.55 * haze
        for foot in sorted(feet):
            tint = green * (0.85 + 0.3 * rng.random()) + np.asarray((14.0, 4.0, -6.0)) * rng.standard_normal()
            draw_conifer(canvas, mask, rng, foot, size * (0.75 + 0.5 * rng.random()), tuple(tint))
    return finish(canvas, mask)


# --------------------------------------------------------------------------------------------- pebbles


def draw_pebbles(seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Rounded pebbles of five kinds on sand, lit from the upper left. The mask holds the pebbles.

    Returns the picture (HEIGHT, WIDTH, 3) uint8 and the mask (HEIGHT, WIDTH) bool.
    """
    rng = np.random.default_rng(seed)
    grain = 0.10 * noise(rng, (H, W), [0.8]) + 0.05 * noise(rng, (H, W), [6, 25])
    canvas = np.asarray((196.0, 172.0, 132.0)) * (1.0 + grain)[..., None]
    mask = np.zeros((H, W), dtype=bool)
    kinds = [
        ((150, 148, 146), 0.34),
        ((96, 104, 114), 0.24),
        ((168, 110, 84), 0.18),
        ((222, 214, 202), 0.16),
        ((92, 112, 96), 0.08),
    ]
    bands = noise(rng, (H, W), [5, 14])
    specks = noise(rng, (H, W), [0.9])
    free = np.ones((H, W), dtype=bool)
    for radius in [64] * 40 + [48] * 200 + [34] * 700 + [23] * 1800 + [14] * 4000 + [9] * 5000:
        row, column = rng.random() * H, rng.random() * W
        size = radius * (0.85 + 0.3 * rng.random())
        flat = 0.62 + 0.3 * rng.random()
        turn = rng.random() * np.pi
        waves, phases = 0.06 * rng.random(3), rng.random(3) * 2 * np.pi
        kind, tint = rng.choice(len(kinds), p=[kind[1] for kind in kinds]), 1.0 + 0.10 * rng.standard_normal()
        striped = rng.random() < 0.45
        top, bottom = max(int(row - 1.3 * size), 0), min(int(row + 1.3 * size) + 1, H)
        left, right = max(int(column - 1.3 * size), 0), min(int(column + 1.3 * size) + 1, W)
        rows, columns = np.mgrid[top:bottom, left:right].astype(float)
        along = ((columns - column) * np.cos(turn) + (rows - row) * np.sin(turn)) / size
        across = (-(columns - column) * np.sin(turn) + (rows - row) * np.cos(turn)) / (size * flat)
        angle = np.arctan2(across, along)
        # A superellipse with three gentle waves on its rim; `reach` is 0 in the middle and 1 at the rim.
        rim = 1 + sum(waves[k] * np.cos((k + 2) * angle + phases[k]) for k in range(3))
        reach = (np.abs(along) ** 2.3 + np.abs(across) ** 2.3) ** (1 / 2.3) / rim
        stone = reach < 1
        if stone.sum() == 0 or not free[top:bottom, left:right][stone].all():
            continue
        # Keep a gap of about 3 px around each stone.
        free[top:bottom, left:right] &= reach > 1 + 3 / size
        # A shadow to the lower right, on sand only: stones that are drawn later cover it.
        shift = max(2, round(0.16 * size))
        shadow = ndimage.gaussian_filter(np.pad(stone, 2 * shift).astype(float), 0.07 * size)[: H + shift, : W + shift]
        shadow = shadow[shift : shift + bottom - top, shift : shift + right - left]
        dark = canvas[top:bottom, left:right]
        dark *= np.where(mask[top:bottom, left:right], 1.0, 1 - 0.55 * shadow)[..., None]
        # A rounded surface: height (1 - reach^2.4)^0.5, lit from the upper left.
        height = np.sqrt(np.clip(1 - reach**2.4, 0, 1)) * 0.55 * size
        height = ndimage.gaussian_filter(height, 0.06 * size)
        down, over = np.gradient(height)
        lambert = (0.45 * over + 0.55 * down + 0.70) / np.sqrt(down**2 + over**2 + 1)
        color = np.asarray(kinds[kind][0], dtype=float) * tint
        pattern = 1 + 0.07 * specks[top:bottom, left:right] + 0.06 * bands[top:bottom, left:right]
        if striped:
            lines = np.sin((across * 1.6 + 0.25 * bands[top:bottom, left:right]) * (4 + 5 * rng.random()))
            pattern = pattern + 0.22 * np.clip(lines - 0.55, 0, 1)
        shaded = color * (pattern * (0.30 + 0.85 * np.clip(lambert, 0, None)))[..., None]
        shaded += 70 * (np.clip(lambert, 0, 1) ** 24)[..., None]
        dark[stone] = shaded[stone]
        mask[top:bottom, left:right] |= stone
    return finish(canvas, mask)


# ------------------------------------------------------------------------------------------------ lake


def paint_stroke(
    canvas: np.ndarray, path: np.ndarray, radius: float, color: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint one brush stroke along path (n, 2), rows and columns, onto the canvas in place.

    Bristles leave lighter and darker lines along the stroke.
    """
    top, left = np.maximum(np.floor(path.min(axis=0) - radius - 1).astype(int), 0)
    bottom, right = np.minimum(np.ceil(path.max(axis=0) + radius + 2).astype(int), (H, W))
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right].astype(float)
    nearest, side = np.full(rows.shape, np.inf), np.zeros(rows.shape)
    for start, stop in pairwise(path):
        step = stop - start
        length = np.hypot(*step) + 1e-9
        to_row, to_column = rows - start[0], columns - start[1]
        along = np.clip((to_row * step[0] + to_column * step[1]) / length**2, 0, 1)
        gap = np.hypot(to_row - along * step[0], to_column - along * step[1])
        closer = gap < nearest
        nearest[closer] = gap[closer]
        side[closer] = ((to_row * step[1] - to_column * step[0]) / length)[closer]
    cover = np.clip(radius - nearest + 0.5, 0, 1)
    bristles = 1 + 0.09 * np.sin(side * 2.1 + rng.random() * 6.3) + 0.05 * np.sin(side * 0.9 + rng.random() * 6.3)
    # Thick paint: one rim of the stroke catches the light.
    bristles += 0.10 * np.clip(-side / radius, -1, 1)
    patch = canvas[top:bottom, left:right]
    patch[:] = mix(patch, color * bristles[..., None], 0.94 * cover)


def paint_strokes(
    canvas: np.ndarray,
    reference: np.ndarray,
    angles: np.ndarray,
    where: np.ndarray,
    brush: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Cover the region `where` (H, W) of the canvas with strokes that take their colours from `reference` (H, W, 3).

    Strokes start on a jittered grid and follow `angles` (H, W), radians from the column axis. brush = (radius, length)
    in pixels. After Hertzmann, "Painterly rendering with curved brush strokes of multiple sizes", SIGGRAPH 1998.
    """
    radius, length = brush
    blurred = ndimage.gaussian_filter(reference, (radius / 2, radius / 2, 0))
    grid = np.mgrid[0 : H : 1.25 * radius, 0 : W : 1.25 * radius].reshape(2, -1).T
    starts = grid + rng.uniform(-radius, radius, grid.shape)
    for start in starts[rng.permutation(len(starts))]:
        point = np.clip(start, 0, (H - 1, W - 1))
        if not where[int(point[0]), int(point[1])]:
            continue
        color = blurred[int(point[0]), int(point[1])]
        color = color * (1 + 0.07 * rng.standard_normal()) + 7 * rng.standard_normal(3)
        path = [point]
        for _ in range(5):
            angle = angles[int(point[0]), int(point[1])]
            point = np.clip(point + length / 5 * np.array((np.sin(angle), np.cos(angle))), 0, (H - 1, W - 1))
            path.append(point)
        paint_stroke(canvas, np.array(path), radius, color, rng)


def draw_lake(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An evening at a lake, painted in brush strokes: swirling sky, mountains, water, wheat. The mask holds the trees.

    Returns the picture (HEIGHT, WIDTH, 3) uint8 and the mask (HEIGHT, WIDTH) bool.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:H, 0:W].astype(float)
    horizon, shore = 0.50 * H, 0.72 * H + 0.03 * H * np.sin(columns / W * 5 + 0.6)
    sun = (0.36 * H, 0.60 * W)

    # The colours under the paint.
    sky = gradient(
        rows / H, [(0.0, (34, 62, 132)), (0.22, (78, 122, 184)), (0.38, (226, 176, 128)), (0.52, (250, 206, 112))]
    )
    swirl = noise(rng, (H, W), [14, 34], stretch=2.2)
    sky = mix(sky, (244, 220, 170), 0.42 * np.clip(swirl - 0.2, 0, 1))
    sky = mix(sky, (26, 46, 110), 0.30 * np.clip(-swirl - 0.3, 0, 1))
    distance = np.hypot(rows - sun[0], columns - sun[1])
    sky = mix(sky, (255, 226, 120), 0.85 * np.exp(-distance / (0.10 * H)))
    sky = mix(sky, (255, 246, 196), 0.5 + (0.055 * H - distance) / 6)
    reference = sky
    far = ridge(np.random.default_rng(seed + 10), 0.43, 0.035, [14, 40, 90])
    near = ridge(np.random.default_rng(seed + 11), 0.475, 0.022, [20, 60])
    for line, color, snow in ((far, (92, 96, 150), 0.30), (near, (58, 82, 110), 0.0)):
        light = 1 + 0.35 * np.clip(ndimage.gaussian_filter1d(np.gradient(line), 5), -0.8, 0.8)
        body = np.asarray(color) * np.broadcast_to(light, (H, W))[..., None]
        body = mix(body, (228, 200, 196), snow * np.clip(1 - (rows - line) / (0.05 * H), 0, 1) * 2)
        reference = np.where(((rows > line) & (rows <= horizon))[..., None], body, reference)
    mirrored = reference[np.clip(2 * horizon - rows, 0, H - 1).astype(int), columns.astype(int)]
    water = mix(mirrored * 0.82, (40, 78, 128), 0.30 + 0.18 * noise(rng, (H, W), [2.5, 6], stretch=7.0))
    reference = np.where((rows > horizon)[..., None], water, reference)
    wheat = gradient(rows / H, [(0.70, (150, 142, 58)), (0.80, (214, 168, 62)), (1.0, (176, 112, 38))])
    wheat = wheat * (1 + 0.16 * noise(rng, (H, W), [3, 9]))[..., None]
    field = rows > shore
    reference = np.where(field[..., None], wheat, reference)

    # The directions of the strokes: around two eddies in the sky, down the flanks, level on water, upright in wheat.
    turning = 0.35 * swirl
    for eddy_row, eddy_column, width in ((0.16 * H, 0.27 * W, 0.17 * H), (0.14 * H, 0.86 * W, 0.13 * H)):
        around = np.arctan2(columns - eddy_column, -(rows - eddy_row))
        close = np.exp(-(((rows - eddy_row) ** 2 + (columns - eddy_column) ** 2) / (2 * width**2)))
        turning = np.where(close > 0.35, around, turning)
    circling = np.arctan2(columns - sun[1], -(rows - sun[0]))
    turning = np.where(distance < 0.17 * H, circling, turning)
    mountain = (rows > np.minimum(far, near)) & (rows <= horizon)
    angles = np.where(mountain, 0.9 + 0.25 * swirl, turning)
    angles = np.where((rows > horizon) & ~field, 0.0, angles)
    angles = np.where(field, -np.pi / 2 + 0.35 * swirl, angles)

    canvas = ndimage.gaussian_filter(reference, (6, 6, 0))
    everywhere = np.ones((H, W), dtype=bool)
    paint_strokes(canvas, reference, angles, everywhere, (9.0, 56.0), rng)
    paint_strokes(canvas, reference, angles, everywhere, (5.0, 40.0), rng)
    detail = mountain | (distance < 0.08 * H) | field | (rows > horizon)
    paint_strokes(canvas, reference, angles, detail, (3.0, 26.0), rng)

    # Cypresses in front, painted upward in flame-like strokes that stay inside their outline.
    mask = np.zeros((H, W), dtype=bool)
    stalks = noise(rng, (W,), [1.5])
    for foot_row, foot_column, size in (
        (0.93, 0.10, 0.80),
        (0.88, 0.185, 0.50),
        (0.83, 0.90, 0.36),
        (0.85, 0.95, 0.46),
    ):
        along = (foot_row * H - rows) / (size * H)  # 0 at the foot, 1 at the tip
        profile = np.clip(along, 0, 1) ** 0.35 * np.clip(1 - along, 0, 1) ** 0.8
        wobble = 0.012 * H * np.sin(along * 17 + foot_column * 40) * np.clip(along, 0, 1)
        across = columns - foot_column * W - wobble
        # The foot stands behind ragged wheat.
        tree = (np.abs(across) < 0.16 * size * H * profile) & (along > 0.05 + 0.02 * stalks)
        colors = gradient(across / (0.1 * size * H), [(-1, (24, 48, 34)), (0.0, (38, 76, 42)), (1, (110, 128, 50))])
        colors = colors * (1 + 0.18 * noise(rng, (H, W), [3, 8]))[..., None]
        painted = canvas.copy()
        painted[tree] = colors[tree]
        upward = -np.pi / 2 + 0.5 * np.sin(rows / 23 + 3 * foot_column) + 0.3 * across / (0.1 * size * H)
        paint_strokes(painted, colors, upward, tree, (4.0, 34.0), rng)
        paint_strokes(painted, colors, upward, tree, (2.5, 22.0), rng)
        canvas = np.where(tree[..., None], painted, canvas)
        mask |= tree
    return finish(canvas, mask)


DRAWINGS = {"drawn_hills": draw_hills, "drawn_pebbles": draw_pebbles, "drawn_lake": draw_lake}


def make_drawings(output: Path) -> None:
    """Write every drawing to the folder `output` as <name>.png and its mask as <name>_mask.png."""
    for name, draw in DRAWINGS.items():
        picture, mask = draw()
        save_png(picture, output / f"{name}.png")
        save_png(mask, output / f"{name}_mask.png")


def main() -> None:
    make_drawings(IMAGES)
    write_checksums(IMAGES, DATA / "checksums.sha256")


if __name__ == "__main__":
    main()
