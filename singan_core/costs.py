"""What a training takes, counted from the settings and the sizes of the levels alone: arithmetic and memory.

Nothing runs here and nothing is measured; what the counts come to on a machine is the business of `forecast`.
"""

from typing import NamedTuple

from singan_core.config import TrainConfig
from singan_core.pyramid import PyramidShape, Size
from singan_core.views import WINDOWS

IMAGES = 12
"""Images of the finest size that are there at the peak: the photograph, its reconstruction, noise, samples, slopes."""


class LevelCost(NamedTuple):
    """What one level of a pyramid costs.

    iterations: of the level. operations: floating-point operations of the convolutions in one iteration, a product and
    a sum counting as two; where the gradient penalty is not in every step, the mean. passes: convolutions in one
    iteration, forward and backward ones: each costs some time however small the image is. maps: bytes of the hidden
    maps at the peak of an iteration. kept: bytes of networks and images.
    """

    iterations: int
    operations: float
    passes: float
    maps: float
    kept: float

    @property
    def memory(self) -> float:
        """Bytes of all tensors at the peak of an iteration."""
        return self.maps + self.kept


def training_costs(config: TrainConfig, shape: PyramidShape) -> list[LevelCost]:
    """The cost of every level of a training, coarsest first.

    A discriminator step draws a fake through all levels and has the forward and backward passes of two critics, and
    those of the gradient penalty, which is differentiated twice; a generator step goes through the generator, and back,
    for the fake and, with an alpha above 0, for the reconstruction, and through the critic in between. Texture loss and
    resizing are not counted. With windows (`views`) these are what is drawn, four at a time.
    """
    penalty, rebuilt = 1 / config.penalty_every, bool(config.alpha)
    critics, generators = config.discriminator_steps, config.generator_steps
    costs = []
    for level in range(len(shape)):
        *below, (count, size) = parts_in_view(config, shape, level)
        drawn = sum(n * sum(_generator(config, k, part)) for k, (n, part) in enumerate(below))
        generator, discriminator = _generator(config, level, size), _discriminator(config, level, size)
        g, d, first_g, first_d = sum(generator), sum(discriminator), generator[0], discriminator[0]
        # backward is two convolutions for each, but one for the first, whose input needs no gradient
        critic_step = g + 6 * d - 2 * first_d + penalty * (6 * d - 2 * discriminator[-1])
        generator_step = (1 + rebuilt) * (3 * g - first_g) + 2 * d
        # the first generator step has the fake of the last discriminator step
        operations = critics * (drawn + count * critic_step) + count * (generators * generator_step - g)
        passes = critics * (len(below) + 7 + 6 * penalty) + generators * (5 + 3 * rebuilt) - 1
        maps, kept = _step_memory(config, level, count, size), _kept_memory(config, shape, level)
        costs.append(LevelCost(config.iterations_at(level), operations, config.layers * passes, maps, kept))
    return costs


def parts_in_view(config: TrainConfig, shape: PyramidShape, level: int) -> list[tuple[int, Size]]:
    """How many images of which size are drawn at the levels from 0 to the one in training, in one of its iterations.

    One whole image each, or with windows the parts that these depend on, to a pixel or two (see `views`).
    """
    size = shape.sizes[level]
    if not config.crop or size[0] * size[1] <= config.crop**2:
        return [(1, each) for each in shape.sizes[: level + 1]]
    side = round(config.crop / WINDOWS**0.5)
    spans = [tuple(min(side, whole) for whole in size)]
    for below, above in zip(shape.sizes[:level][::-1], shape.sizes[1 : level + 1][::-1], strict=True):
        # a window and its margins, reduced, and the neighbours that bicubic interpolation looks at
        needed = ((span + 2 * config.layers) * b / a + 3 for span, a, b in zip(spans[0], above, below, strict=True))
        spans.insert(0, tuple(min(int(n) + 1, b) for n, b in zip(needed, below, strict=True)))
    return [
        (1 if span == whole else WINDOWS, span) for span, whole in zip(spans, shape.sizes[: level + 1], strict=True)
    ]


def weights(config: TrainConfig, level: int) -> tuple[int, int]:
    """Number of weights of the convolutions of a level's generator and discriminator, biases left out."""
    kernels = config.kernels_at(level)
    hidden = 9 * kernels * (3 + (config.layers - 2) * kernels)
    return hidden + 27 * kernels, hidden + 9 * kernels


def _generator(config: TrainConfig, level: int, size: Size) -> list[float]:
    """Operations of the generator's convolutions, forward, for one image of that size, layer by layer."""
    margin = 2 * config.layers
    return _convolutions(config, level, (size[0] + margin, size[1] + margin), 3)


def _discriminator(config: TrainConfig, level: int, size: Size) -> list[float]:
    return _convolutions(config, level, size, 1)


def _convolutions(config: TrainConfig, level: int, size: Size, out: int) -> list[float]:
    kernels = config.kernels_at(level)
    channels = [3, *[kernels] * (config.layers - 1), out]
    pixels = [(size[0] - 2 * n) * (size[1] - 2 * n) for n in range(1, config.layers + 1)]
    return [18.0 * a * b * each for a, b, each in zip(channels, channels[1:], pixels, strict=False)]


def _step_memory(config: TrainConfig, level: int, count: int, size: Size) -> float:
    """Bytes of hidden maps at the peak of an iteration: the discriminator's step with penalty or the generator's step.

    Backward needs two maps for each hidden layer that was passed forward: the convolution's output and the normalised
    one. The penalty is a forward and a backward pass, both kept, and so is the pass of the fake, for the generator's
    step. Besides there are some maps in the making.
    """
    values = count * config.kernels_at(level)

    def maps(margin: int) -> list[int]:
        sides = ((size[0] + margin - 2 * n, size[1] + margin - 2 * n) for n in range(1, config.layers))
        return [height * width for height, width in sides]

    own, padded = maps(0), maps(2 * config.layers)
    critic_step = 2 * sum(padded) + 4 * sum(own) + 3 * own[0]
    generator_step = 2 * sum(own) + (4 if config.alpha else 2) * sum(padded) + 3 * padded[0]
    return float(_value(config) * values * max(critic_step, generator_step))


def _value(config: TrainConfig) -> int:
    """Bytes of a value of a hidden map; mixed precision as on a device that has it."""
    return {"float32": 4, "mixed": 2, "float64": 8}[config.precision]


def _kept_memory(config: TrainConfig, shape: PyramidShape, level: int) -> float:
    """Bytes of networks, with gradients and Adam's two averages for those in training, and of images."""
    value = 8 if config.precision == "float64" else 4
    finished = sum(2 * g + d for g, d in (weights(config, below) for below in range(level)))  # G twice: see `folded`
    height, width = shape.sizes[level]
    return float(value * (4 * sum(weights(config, level)) + finished + IMAGES * 3 * height * width))
