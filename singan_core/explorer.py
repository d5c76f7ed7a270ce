"""The injection-scale explorer without its screen: pictures, a pyramid, settings, and what comes out of them.

`widgets.ExplorerPanel` shows it. All that can take long runs in threads of this module: `Background` draws, `Training`
trains, so that a page stays alive.
"""

import itertools
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from singan_core.applications import edit, harmonize, paint_to_image
from singan_core.applications.editing import BLUR, EDIT_DILATION, HARMONIZE_DILATION
from singan_core.arguments import to_path
from singan_core.config import TrainConfig, resolve_profile
from singan_core.drawing import Colour, Drawing, Point
from singan_core.errors import SinGANError
from singan_core.images import load_image, sample_image, sample_mask, sample_names, save_image
from singan_core.model import SinGAN
from singan_core.progress import Progress
from singan_core.pyramid import Size, at_level, fit, pyramid_shape, resize
from singan_core.store import MODEL, load_or_train, load_run, run_folder, shipped_pyramid

TASKS = ("sample", "edit", "harmonize", "paint")
MASKED = ("edit", "harmonize")
"""Tasks with a mask: only what is marked is redrawn."""
TOOLS = ("mark", "unmark", "paint")
"""What a stroke does: mark as changed, take the mark away, or paint (and mark, in tasks with a mask)."""

MARK = (213, 94, 0)
"""The tint of what is marked, 8-bit RGB."""
LARGEST_PAGE = 1024
"""Longer side, in pixels, to which larger pictures are reduced before they are drawn on."""
KEPT = 64
"""Results that are kept for settings that come again."""
LIMITS = {"scale": (0, 100), "seed": (0, 2**32 - 1), "dilation": (0, 100), "blur": (0, 50)}
"""Lowest and highest value of each number in Settings."""


@dataclass(frozen=True)
class Settings:
    """What one picture is made from. Raises SinGANError for values out of range.

    task: one of TASKS. scale: the level at which a picture is injected, from 1 on, or at which a sample starts, from 0
    on; that the pyramid has such a level is checked when it draws. seed: of the noise. dilation, blur: of the mask, in
    pixels of the trained size, see `editing.soft_mask`; without meaning for other tasks.
    """

    task: str
    scale: int
    seed: int = 0
    dilation: float = 0.0
    blur: float = 0.0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise SinGANError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}.")
        for field in fields(self)[1:]:
            value, (low, high) = getattr(self, field.name), LIMITS[field.name]
            if field.name == "scale" and self.task != "sample":
                low = 1
            kinds = (int, float) if field.type is float else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                what = "a number" if field.type is float else "a whole number"
                raise SinGANError(f"{field.name} must be {what} from {low} to {high}, got {value!r}.")


class Explorer:
    """One photograph with its pyramid, and what a person has put together for each task.

    image: the photograph (1, 3, H, W) in [-1, 1]. name: what it is called. bundled: whether it is the bundled one of
    that name, and the bundled inputs <task>_<name> belong to it. profile: see `resolve_profile`. store: folder of the
    runs, see `load_or_train`. The pyramid, `model`, is one that is shipped or in the run store, trained at the profile
    or with `quick_config`; None where there is none, and then `train` makes one. Methods may be called from several
    threads. Raises SinGANError for a photograph that makes no pyramid.
    """

    def __init__(
        self,
        image: Tensor,
        name: str,
        *,
        bundled: bool = False,
        profile: str | None = None,
        store: str | Path | None = None,
    ):
        self.image, self.name, self.bundled, self.store = image, name, bundled, store
        self.quick = quick_config(profile)
        pyramid_shape(tuple(image.shape[-2:]), min_size=self.quick.min_size, max_size=self.quick.max_size)
        self._lock = threading.RLock()
        self._inputs: dict[str, Input] = {}
        self._results: OrderedDict[tuple[Settings, int], Tensor] = OrderedDict()
        self.model = find_pyramid(image, (TrainConfig.for_profile(profile), self.quick), store)

    @classmethod
    def of_sample(cls, name: str, *, profile: str | None = None, store: str | Path | None = None) -> "Explorer":
        """The explorer of a bundled photograph. Raises SinGANError that lists the names if it is unknown."""
        return cls(sample_image(name), name, bundled=True, profile=profile, store=store)

    @classmethod
    def of_upload(
        cls, content: bytes, file_name: str, *, profile: str | None = None, store: str | Path | None = None
    ) -> "Explorer":
        """The explorer of an uploaded file. Raises SinGANError for a file that `load_image` refuses, with its message.

        Pictures of more than LARGEST_PAGE pixels along a side are reduced to that.
        """
        path = Path(Path(file_name.replace("\\", "/")).name or "picture")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / path
            try:
                file.write_bytes(content)
                image = load_image(file)
            except OSError as error:
                raise SinGANError(f"Cannot take in {path} ({error.strerror or error}); rename it.") from error
            except SinGANError as error:  # the person knows the file by its own name alone
                raise SinGANError(str(error).replace(str(file), str(path))) from error
        return cls(fitted(image), path.stem, profile=profile, store=store)

    # -- what a person puts together

    def input(self, task: str) -> "Input":
        """The picture that a task takes, with its mask: first the bundled one <task>_<name>, else the photograph."""
        with self._lock:
            if task not in self._inputs:
                self._inputs[task] = Input(*self._first_input(task))
            return self._inputs[task]

    def stroke(self, task: str, points: Sequence[Point], tool: str, colour: Colour, line: float) -> None:
        """Draw on the input of a task, through points (x, y) from 0 to 1, from the top left corner of the picture.

        tool: one of TOOLS. colour: 8-bit RGB, for paint. line: width as a share of the picture's width, at least a
        pixel. Raises SinGANError for a task that takes no such stroke.
        """
        if tool not in TOOLS:
            raise SinGANError(f"tool must be one of {', '.join(TOOLS)}, got {tool!r}.")
        if task == "sample":
            raise SinGANError("A sample takes no drawing: choose the task edit, harmonize or paint.")
        if task not in MASKED and tool != "paint":
            raise SinGANError(f"The task {task} takes no mask, the whole picture is redrawn: take the tool paint.")
        with self._lock:
            page = self.input(task)
            width, height = page.picture.page.size
            page.picture.line = page.mask.line = max(1, round(line * width))
            pixels = [(x * width, y * height) for x, y in points]
            if tool == "paint":
                page.picture.stroke(pixels, colour)
            page.mask.stroke(pixels, 0 if tool == "unmark" else 255)
            page.version = next(VERSIONS)

    def clear(self, task: str) -> None:
        """Begin from nothing: the photograph with nothing marked, or a white page to paint on."""
        with self._lock:
            page = Input(fitted(self.image))
            if task == "paint":
                page.picture.clear()
            self._inputs[task] = page

    def reset(self, task: str) -> None:
        """Begin anew from the input that the task had at first."""
        with self._lock:
            self._inputs.pop(task, None)

    def is_marked(self, task: str) -> bool:
        """Whether anything is marked on the input of a task."""
        with self._lock:
            return self.input(task).mask.page.getextrema() != (0, 0)

    def shown(self, task: str, size: Size) -> np.ndarray:
        """The input of a task to be drawn on, uint8 (*size, 3): what is marked has a tint."""
        with self._lock:
            page = self.input(task)
            picture = np.asarray(page.picture.page.resize(size[::-1], Image.Resampling.BILINEAR))
            mask = page.mask.page.resize(size[::-1], Image.Resampling.BILINEAR)
        if task not in MASKED:
            return picture.copy()
        tint = np.asarray(mask, dtype=np.float32)[..., None] / 255 * 0.45
        return ((1 - tint) * picture + tint * np.array(MARK)).round().astype(np.uint8)

    # -- pictures

    @property
    def last(self) -> int:
        """The finest level of the pyramid. Raises SinGANError where there is none."""
        return len(self._model().levels) - 1

    def defaults(self, task: str) -> Settings:
        """Settings to begin a task with: the authors' dilation and blur, and a level at which something happens."""
        longest = max(self._model().size)
        widened = {"edit": EDIT_DILATION, "harmonize": HARMONIZE_DILATION}.get(task, 0) * longest
        scale = 0 if task == "sample" else max(1, self.last // 2)
        blur = BLUR * longest if task in MASKED else 0.0
        return Settings(task, scale, dilation=round(widened, 1), blur=round(blur, 1))

    def before(self, settings: Settings) -> Tensor:
        """The input of a task at the size of the result, (1, 3, h, w) in [-1, 1]."""
        model = self._model()
        picture = self._snapshot(settings.task)[0].to(model.device)
        return fit(picture, model.fitted_size(tuple(picture.shape[-2:])))

    def given(self, settings: Settings) -> Tensor:
        """What the level at `settings.scale` is given: the picture reduced to the level below, (1, 3, h, w).

        A sample is given the reconstruction of the level below; at level 0 it starts from nothing, which is gray.
        """
        model, scale = self._model(), self._scale(settings)
        if settings.task == "sample":
            return model.reconstruct(scale - 1) if scale else model.z_star.new_zeros(1, 3, *model.shape.sizes[0])
        picture = self._snapshot(settings.task)[0].to(model.device)
        return at_level(picture, model.shape_for_picture(tuple(picture.shape[-2:])), scale - 1)

    def after(self, settings: Settings, *, full_size: bool = False) -> Tensor:
        """What the pyramid makes of it, (1, 3, h, w) in [-1, 1], at the trained resolution.

        full_size: at that of the input instead. Raises SinGANError where there is no pyramid, no such level, or a mask
        with nothing marked.
        """
        model, scale = self._model(), self._scale(settings)
        picture, mask, version = self._snapshot(settings.task)
        if full_size:
            return self._draw(model, settings, scale, picture, mask, full_size=True)
        with self._lock:
            if (known := self._results.get((settings, version))) is not None:
                self._results.move_to_end((settings, version))
                return known
        drawn = self._draw(model, settings, scale, picture, mask, full_size=False)
        with self._lock:
            if model is self.model:  # else a training has ended meanwhile
                self._results[settings, version] = drawn
            while len(self._results) > KEPT:
                self._results.popitem(last=False)
        return drawn

    def save(self, settings: Settings, folder: str | Path, *, full_size: bool = False) -> Path:
        """Write the result as PNG to `folder` and return the path; its name says what it is. An older one stays."""
        drawn = self.after(settings, full_size=full_size)
        name = f"{self.name}-{settings.task}-level{settings.scale}-seed{settings.seed}"
        folder = to_path(folder)
        path = folder / f"{name}.png"
        for number in itertools.count(2):
            if not path.exists():
                break
            path = folder / f"{name}-{number}.png"
        save_image(drawn, path)
        return path

    # -- the pyramid

    def use(self, model: SinGAN) -> None:
        """Take another pyramid of the same photograph."""
        with self._lock:
            self.model = model
            self._results.clear()

    def train(self, changed: Callable[["Training"], None]) -> "Training":
        """Train a pyramid with `quick_config`, in a thread; see `Training`."""
        return Training(self, changed)

    def _model(self) -> SinGAN:
        if (model := self.model) is None:
            raise SinGANError(f"There is no trained pyramid of '{self.name}' yet: train one.")
        return model

    def _scale(self, settings: Settings) -> int:
        if settings.scale > self.last:
            raise SinGANError(f"This pyramid has the levels 0 to {self.last}, there is no level {settings.scale}.")
        return settings.scale

    def _snapshot(self, task: str) -> tuple[Tensor, Tensor, int]:
        """Picture and mask of a task as they are now, and the number of this state."""
        with self._lock:
            page = self.input(task)
            return page.picture.image(), page.mask.image(), page.version

    def _first_input(self, task: str) -> tuple[Tensor, Tensor | None]:
        if task not in TASKS:
            raise SinGANError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
        if not self.bundled or (name := f"{task}_{self.name}") not in sample_names():
            return fitted(self.image), None
        picture = fitted(sample_image(name))
        return picture, _first_mask(name, tuple(picture.shape[-2:])) if task in MASKED else None

    def _draw(
        self, model: SinGAN, settings: Settings, scale: int, picture: Tensor, mask: Tensor, full_size: bool
    ) -> Tensor:
        if settings.task == "sample":
            size = tuple(picture.shape[-2:]) if full_size else None
            return model.sample(1, seed=settings.seed, start_scale=scale, size=size)
        if settings.task == "paint":
            return paint_to_image(model, picture, scale, seed=settings.seed, full_size=full_size)
        if not mask.any():
            raise SinGANError("Nothing is marked: draw on the picture over what is to be redrawn.")
        redraw = edit if settings.task == "edit" else harmonize
        return redraw(
            model,
            picture,
            mask,
            scale,
            seed=settings.seed,
            dilation=settings.dilation,
            blur=settings.blur,
            full_size=full_size,
        )


VERSIONS = itertools.count()
"""Every state of every input has a number of its own, so that a kept result is never that of another state."""


class Input:
    """The picture that a task takes (1, 3, H, W), its mask (1, 1, H, W), by default empty, and the number of its state.

    Both are pages that can be drawn on.
    """

    def __init__(self, picture: Tensor, mask: Tensor | None = None):
        if mask is None:
            mask = picture.new_zeros(1, 1, *picture.shape[-2:])
        self.picture, self.mask = Drawing(picture, line=1), Drawing(mask, line=1)
        self.version = next(VERSIONS)


class Background:
    """Runs jobs one at a time in a thread; one that has not begun when the next is given is left out.

    Whoever moves a slider over ten places wants the tenth picture. Jobs must not raise.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: Callable[[], None] | None = None
        self._busy = False

    def submit(self, job: Callable[[], None]) -> None:
        """Run this job next, in place of one that waits."""
        with self._condition:
            self._waiting = job
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run, daemon=True, name="explorer-drawing").start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False if that took longer than `timeout` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._busy, timeout)

    def _run(self) -> None:
        while True:
            with self._condition:
                job, self._waiting = self._waiting, None
                if job is None:
                    self._busy = False
                    self._condition.notify_all()
                    return
            job()


class Stopped(Exception):
    """A person has stopped the training."""


class Training:
    """The quick training of an explorer's pyramid, in a thread that is started at once; the explorer then uses it.

    changed: called with this training from its thread about twice a second, and at its end. share: done, 0 to 1. text:
    where it is. running: until the end. error: what went wrong, None otherwise; Stopped after `stop`.
    """

    def __init__(self, explorer: Explorer, changed: Callable[["Training"], None]):
        self.explorer, self.changed = explorer, changed
        self.share, self.text, self.running = 0.0, "The training starts ...", True
        self.error: Exception | None = None
        self._lock, self._ended, self._started = threading.Lock(), threading.Event(), time.monotonic()
        threading.Thread(target=self._run, daemon=True, name="explorer-training").start()

    def stop(self) -> None:
        """End it: at once for those who look at it, even while another process trains this pyramid and is waited for.

        Its thread keeps what is trained at the next report, half a second later at most, and ends.
        """
        self._end(Stopped())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if it takes longer than `timeout` seconds."""
        return self._ended.wait(timeout)

    def _report(self, progress: Progress) -> None:
        if not self.running:
            raise Stopped
        done = time.monotonic() - self._started
        self.share = done / max(done + progress.seconds_left, 1e-9)
        self.text = f"Training level {progress.level} of {progress.levels - 1}, {progress.seconds_left:.0f} s left"
        self.changed(self)

    def _run(self) -> None:
        explorer = self.explorer
        try:
            model = load_or_train(
                explorer.image, explorer.quick, store=explorer.store, callback=self._report, progress=False
            )
            self._end(model=model)
        except Exception as error:  # it belongs on the page: nobody sees what a thread prints
            self._end(error)

    def _end(self, error: Exception | None = None, model: SinGAN | None = None) -> None:
        """Take the pyramid or note what went wrong, and tell it; only the first end counts."""
        with self._lock:
            if not self.running:
                return
            if model is not None:
                self.explorer.use(model)
                self.share, self.text = 1.0, f"Trained in {time.monotonic() - self._started:.0f} s."
            self.error, self.running = error, False
        try:
            self.changed(self)
        finally:
            self._ended.set()


def quick_config(profile: str | None = None) -> TrainConfig:
    """Settings of a training that somebody waits for: about half a minute on two cores at 96 px; seconds for smoke."""
    if resolve_profile(profile) == "smoke":
        return TrainConfig.for_profile("smoke")
    return TrainConfig.for_profile("laptop", max_size=96, iterations=150)


def find_pyramid(image: Tensor, configs: Sequence[TrainConfig], store: str | Path | None = None) -> SinGAN | None:
    """The first finished pyramid among these settings, shipped or in the run store; None where there is none."""
    for config in configs:
        folder = run_folder(image, config, store)
        if (shipped := shipped_pyramid(folder.name)) is not None:
            return SinGAN.load(shipped)
        if (folder / MODEL).exists():
            return load_run(folder)
    return None


def photographs() -> list[str]:
    """The bundled pictures that pyramids are trained on: those that are not the input of a task."""
    inputs = tuple(f"{task}_" for task in (*TASKS, "sketch"))
    return [name for name in sample_names() if not name.startswith(inputs)]


def _first_mask(name: str, size: Size) -> Tensor | None:
    """The mask of a bundled input, brought to its size; None for a person's own input that came without one."""
    if name not in sample_names(with_mask=True):
        return None
    return interpolate(sample_mask(name), size=size, mode="nearest-exact")


def fitted(picture: Tensor) -> Tensor:
    """The picture, reduced to LARGEST_PAGE pixels along its longer side where it is larger."""
    height, width = picture.shape[-2:]
    ratio = LARGEST_PAGE / max(height, width)
    return picture if ratio >= 1 else resize(picture, (max(1, round(height * ratio)), max(1, round(width * ratio))))
