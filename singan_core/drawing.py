"""Pages that are drawn on: what a pad holds, without a screen. Showing them is the business of `widgets`."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from singan_core.images import from_array, mask_to_array, to_array

INK = (38, 38, 38)
"""The colour of the lines, 8-bit RGB: as dark as those of the bundled sketches."""

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Drawing:
    """A page with lines on it, a picture or a mask.

    start: the picture (1, 3, H, W) in [-1, 1] or the mask (1, 1, H, W) in [0, 1] that is on the page at first. line:
    width of the lines, in pixels.
    """

    def __init__(self, start: Tensor, line: int):
        array = mask_to_array(start) if start.shape[1] == 1 else to_array(start)
        self.page, self.line = Image.fromarray(array), line

    def stroke(self, points: Sequence[Point], ink: Colour | int = INK) -> None:
        """Draw a line with round ends through points (x, y) in pixels from the top left corner; one makes a dot.

        ink: 8-bit RGB for a picture, 255 (set) or 0 for a mask.
        """
        pen = ImageDraw.Draw(self.page)
        pen.line(points, fill=ink, width=self.line)
        radius = self.line / 2
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)

    def clear(self) -> None:
        """Take a white page, or a mask with nothing set."""
        self.page.paste(0 if self.page.mode == "L" else (255, 255, 255), (0, 0, *self.page.size))

    def array(self) -> np.ndarray:
        """The page as uint8: (H, W, 3), or (H, W) for a mask."""
        return np.array(self.page)

    def image(self) -> Tensor:
        """The page as a picture (1, 3, H, W) in [-1, 1], or as a mask (1, 1, H, W) in [0, 1]."""
        if self.page.mode == "L":
            return torch.from_numpy(self.array().astype(np.float32) / 255)[None, None]
        return from_array(self.array())
