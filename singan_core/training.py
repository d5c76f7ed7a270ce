"""Training: the pyramid level by level, coarsest first, each level a small WGAN-GP (paper, section 2.2).

`LevelTrainer` is the algorithm, one iteration of one level; `train` is the loop around it, with checkpoints. What it
tells on its way is in `progress`; where runs are kept and found again is the business of `store`.
"""

import hashlib
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from singan_core.arguments import to_path
from singan_core.batchnorm import counting_twice
from singan_core.colours import find_palette, quantise
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.files import read_tensors, write_tensors
from singan_core.graphs import GraphedIterations, can_record
from singan_core.losses import critic_score, gradient_penalty
from singan_core.memory import keep_free_memory, release_free_memory
from singan_core.model import HISTORY_COLUMNS, Level, SinGAN, finish, noise_shape, pack, pad_noise, pick_device, unpack
from singan_core.networks import Discriminator, Generator, initialise, memory_format, pad, trained_parameters
from singan_core.progress import Callback, Reporter, deferred_interrupt
from singan_core.pyramid import PyramidShape, at_level, build_pyramid, upsample
from singan_core.targets import Targets, checked_targets, targets_key
from singan_core.texture import TextureLoss, make_features
from singan_core.views import computing_type, make_view


@torch.inference_mode(False)  # also for a caller who is in one of these modes
@torch.enable_grad()
def train(
    image: Tensor,
    config: TrainConfig,
    *,
    targets: Targets | None = None,
    base: SinGAN | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 20.0,
    callback: Callback | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> SinGAN:
    """Train a pyramid on one photograph (1, 3, H, W) in [-1, 1].

    targets: levels that are trained on another picture, each with its picture (1, 3, h, w) in [-1, 1], which has the
    photograph's proportions. It is reduced as the photograph is, or taken as it is where it has its level's size.
    base: for a config with a quantised_level, the pyramid in which this one level is trained anew: that of the same
    photograph, targets and `config.unquantised()`. Its other levels are taken over, and it moves to the device.
    checkpoint: file to resume from when it exists, and to write every checkpoint_seconds, after each level, and when
    interrupted with Ctrl-C. A resumed training ends with exactly the bits of an undisturbed one (on the same CPU).
    callback: called with a `Progress` about twice a second and at the end of each level. progress: show a bar.
    device: default CUDA where there is one, else the CPU.

    Raises SinGANError for pictures that do not fit the settings or each other, for a training that diverges (`Reporter`
    looks for that when it reports, and no diverged state is saved), and for a checkpoint that cannot be read, written,
    or belongs to another training.
    """
    checkpoint = None if checkpoint is None else to_path(checkpoint)
    device = pick_device(device)
    shape, reals = training_images(image, config, device, targets)
    base = _checked_base(base, config, shape, device)
    origin = _fingerprint(image, targets)
    rng = torch.Generator(device).manual_seed(config.seed)
    if checkpoint is not None and checkpoint.exists():
        model, trainer = load_checkpoint(checkpoint, config, reals, rng, origin)
        del reals[: len(model.levels) + 1]
    else:
        if base is None:
            size = noise_shape(0, shape.sizes[0], config)
            model = SinGAN(config, shape, torch.randn(size, generator=rng, device=device, dtype=config.dtype))
        else:
            model = SinGAN(config, shape, base.z_star, base.levels[: config.quantised_level])
            del reals[: config.quantised_level]
        trainer = LevelTrainer(model, reals.pop(0), rng)
    saved = time.monotonic()
    started = saved - model.seconds

    def save() -> None:
        nonlocal saved
        if checkpoint is not None:
            save_checkpoint(checkpoint, model, trainer, origin)
        saved = time.monotonic()

    with Reporter(model, callback, progress) as reporter, deferred_interrupt() as interrupted:
        while True:
            while trainer.iteration < trainer.iterations:
                trainer.step()
                model.seconds = time.monotonic() - started
                if trainer.iteration < trainer.iterations:  # the last one is reported with the level finished
                    reporter.report(trainer)
                if interrupted() or time.monotonic() - saved >= checkpoint_seconds:
                    save()
                if interrupted():
                    raise KeyboardInterrupt
            last = not reals or base is not None
            if last:
                save()  # an interrupt that comes from here on loses nothing
            model.levels.append(trainer.finished())
            if base is not None:
                model.levels += base.levels[len(model.levels) :]
            reporter.report(trainer, level_done=True)
            if last:
                if interrupted():
                    raise KeyboardInterrupt
                return model
            trainer = None  # its images make room for those of the next level
            trainer = LevelTrainer(model, reals.pop(0), rng)
            save()


def training_images(
    image: Tensor, config: TrainConfig, device: torch.device, targets: Targets | None = None
) -> tuple[PyramidShape, list[Tensor]]:
    """The pyramid that a training uses: its shape and the real image of every level. SinGANError if they do not fit.

    The real image of a level is the photograph, reduced to its size, or the level's target (see `train`).
    """
    if not isinstance(config, TrainConfig):
        raise SinGANError(f"config must be a TrainConfig, got {type(config).__name__}: TrainConfig.for_profile(...).")
    pyramid = build_pyramid(
        image.detach() if isinstance(image, Tensor) else image,
        min_size=config.min_size,
        max_size=config.max_size,
        scale_factor=config.scale_factor,
    )
    if config.quantised_level >= len(pyramid.shape):
        raise SinGANError(
            f"quantised_level={config.quantised_level}: this pyramid has the levels 0 to {len(pyramid.shape) - 1}."
        )
    reals = list(pyramid.images)
    for level, picture in checked_targets(targets, pyramid.shape).items():
        reals[level] = at_level(picture.detach(), pyramid.shape, level)
    return pyramid.shape, [
        real.to(device, config.dtype, memory_format=_layout(config, level, device)) for level, real in enumerate(reals)
    ]


def _layout(config: TrainConfig, level: int, device: torch.device) -> torch.memory_format:
    """The order in memory of a level's networks and images while it is trained."""
    return memory_format(device, config.kernels_at(level), computing_type(config, device), training=True)


def _checked_base(base: SinGAN | None, config: TrainConfig, shape: PyramidShape, device: torch.device) -> SinGAN | None:
    """The pyramid in which one level is trained anew, on the device; SinGANError if it is missing or another one."""
    if base is None and not config.quantised_level:
        return None
    if base is None:
        raise SinGANError("A quantised_level is trained anew in a base: give it, or use load_or_train, which finds it.")
    if not config.quantised_level:
        raise SinGANError("A base is taken over only with a quantised_level: set one, or leave the base out.")
    if base.config != config.unquantised() or base.shape != shape or len(base.levels) != len(shape):
        raise SinGANError("The base is another pyramid: it must be of this photograph and of config.unquantised().")
    return base.to(device)


class LevelTrainer:
    """One level in training: networks, optimizers, and the iteration of the paper.

    What an iteration trains on comes from its view (`views`): the whole image, as in the paper, or windows of it where
    that is too large. A view places itself (`move`), cuts its part out of an image of the level (`cut`), draws the
    level's `noise` and, through the finished levels, its random input (`previous`), and in the end sets the statistics
    of batch norm that the level is drawn with (`settle`).

    Order of random draws, which the plain reference implementation in the tests shares: z*, once; per level the fresh
    weights of G, then of D; per iteration the level's noise; per discriminator step the noise of the finished levels
    from 0 up, then the mixing coefficient of the gradient penalty. Windows are placed first in each iteration, and once
    when a level begins; two random images follow when it ends.
    """

    def __init__(self, model: SinGAN, real: Tensor, rng: torch.Generator):
        self.model, self.real, self.rng = model, real, rng
        self.config = config = model.config
        self.index = len(model.levels)
        self.iterations = config.iterations_at(self.index)
        self.iteration = 0
        self.critic_steps = 0

        kernels = config.kernels_at(self.index)
        self.generator = Generator(kernels, config.layers, config.residual).to(real)
        self.discriminator = Discriminator(kernels, config.layers).to(real)
        quantised = 0 < self.index == config.quantised_level  # its input in few colours, see `applications.painting`
        self.palette = find_palette(real.float(), config.quantised_colours) if quantised else None
        if self.index and config.kernels_at(self.index - 1) == kernels and not quantised:
            below = model.levels[-1]
            self.generator.load_state_dict(below.generator.state_dict())
            self.discriminator.load_state_dict(below.discriminator.state_dict())
        else:
            initialise(self.generator, rng)
            initialise(self.discriminator, rng)
        for network in (self.generator, self.discriminator):  # only now: weights are drawn in the order of memory
            network.to(memory_format=_layout(config, self.index, real.device))
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(
                trained_parameters(network),  # without the biases that batch norm removes
                lr=torch.tensor(config.learning_rate, device=real.device) if real.is_cuda else config.learning_rate,
                betas=(0.5, 0.999),
                fused=True,
                capturable=real.is_cuda,
            )
            for network in (self.generator, self.discriminator)
        )

        self.view = make_view(model, rng, self.palette)
        self.amplitude, reconstruction = 1.0, torch.zeros_like(real)
        if self.index:
            reconstruction = self._reconstruction_from_below()
            self.amplitude = config.noise_amplitude * F.mse_loss(reconstruction, real).sqrt().item()
        if quantised:
            reconstruction = quantise(reconstruction, self.palette)
        self.reconstruction_below = pad(reconstruction, config.layers)
        # z* is zero at all levels but the first, where the amplitude is 1
        self.reconstruction_noise = None if self.index else pad_noise(model.z_star, config)
        self.texture = None
        if config.texture_weight:
            self.texture = TextureLoss(make_features(config.texture_features), real)
        # CUDA graphs write to fixed places, so what an iteration leaves is copied into these
        self.penalty = real.new_zeros(())
        self.losses = real.new_zeros(len(HISTORY_COLUMNS))
        self.history = torch.zeros(self.iterations, len(HISTORY_COLUMNS), dtype=torch.float64, device=real.device)
        self.graphs = GraphedIterations(rng) if can_record(real.device) else None
        release_free_memory(real.device)  # that of the level below goes back,
        keep_free_memory(real.device)  # that of this one's iterations stays from here on

    def step(self) -> None:
        """One iteration, with its learning rate and its place in the history. Nothing here waits for the device."""
        config = self.config
        self._set_learning_rate(
            config.learning_rate * (0.1 if self.iteration >= config.decay_at * self.iterations else 1.0)
        )
        first = self.critic_steps
        due = tuple((first + step) % config.penalty_every == 0 for step in range(config.discriminator_steps))
        if self.graphs is None:
            self.iterate(due)
        else:
            self.graphs.run(self.iterate, due)
        self.critic_steps += config.discriminator_steps
        self.history[self.iteration] = self.losses
        self.iteration += 1

    def iterate(self, penalty_due: tuple[bool, ...]) -> None:
        """One iteration of the paper: a discriminator step for each of penalty_due, then generator_steps of G.

        penalty_due: whether the step has the gradient penalty; for each pattern a graph of its own is recorded on CUDA.
        """
        self.view.move()
        margin = self.config.layers
        real = self.view.cut(self.real)
        noise = self.amplitude * self.view.noise()
        for step, due in enumerate(penalty_due, start=1):
            previous = self.view.previous()
            if step < len(penalty_due):
                with torch.no_grad(), self._autocast():
                    fake = self.generator(noise, previous)
            else:  # the generator's first fake, too: statistics move as if each step had computed its own
                with counting_twice(self.generator), self._autocast():
                    fake = self.generator(noise, previous)
            critic_real, critic_fake = self._discriminator_step(real, fake.detach(), due)
        below = self.view.cut(self.reconstruction_below, margin)
        fixed_noise = self.reconstruction_noise
        fixed_noise = torch.zeros_like(below) if fixed_noise is None else self.view.cut(fixed_noise, margin)
        rebuilt_from = [fixed_noise, below]
        for step in range(self.config.generator_steps):
            if step:  # the last noise and previous image are kept, as the authors do
                with self._autocast():
                    fake = self.generator(noise, previous)
            generator_fake, reconstruction = self._generator_step(real, fake, rebuilt_from)
        self.losses.copy_(  # in the order of HISTORY_COLUMNS
            torch.stack([critic_real, critic_fake, self.penalty, generator_fake, reconstruction]).detach()
        )

    def finished(self) -> Level:
        """The trained level, ready to be drawn from."""
        release_free_memory(self.real.device)
        rebuilt_from = self.reconstruction_below
        if self.reconstruction_noise is not None:
            rebuilt_from = rebuilt_from + self.reconstruction_noise
        self.view.settle(self.generator, self.amplitude, [rebuilt_from] if self.config.alpha else [])
        level = Level(self.generator, self.discriminator, self.amplitude, self.history.cpu().numpy(), self.palette)
        finish(level, self.real)
        return level

    def raise_if_diverged(self) -> None:
        """SinGANError with level and iteration of the first loss that is not finite; waits for the device."""
        broken = (~torch.isfinite(self.history[: self.iteration].cpu())).any(dim=1).nonzero()
        if len(broken):
            raise SinGANError(
                f"The training diverged at level {self.index}, iteration {int(broken[0])}: a loss is not finite. "
                f"Lower learning_rate (now {self.config.learning_rate:g}) or raise penalty_weight."
            )

    def _discriminator_step(self, real: Tensor, fake: Tensor, penalty_due: bool) -> tuple[Tensor, Tensor]:
        """Minimise -D(x) + D(G(z)) + weight * penalty; fake comes without graph. Gives D(x) and D(G(z))."""
        with self._autocast():
            critic_real = critic_score(self.discriminator, real)
            critic_fake = critic_score(self.discriminator, fake)
        self.optimizer_d.zero_grad()
        (critic_fake - critic_real).backward()
        if penalty_due:  # by itself: the graphs of the two scores are freed first, which saves a third of the memory
            mix = torch.rand((), generator=self.rng, device=real.device, dtype=real.dtype)
            with self._autocast():
                penalty = gradient_penalty(self.discriminator, real, fake, mix)
            # one in penalty_every steps stands for the others
            (self.config.penalty_weight * self.config.penalty_every * penalty).backward()
            self.penalty.copy_(penalty.detach())
        self.optimizer_d.step()
        return critic_real, critic_fake

    def _generator_step(self, real: Tensor, fake: Tensor, rebuilt_from: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Minimise -D(G(z)) + alpha * MSE(G(z*), x) (equations 4 and 5). Gives D(G(z)) and the MSE.

        fake: G(z), with the graph of the weights as they are: the authors' loop reuses one graph over changed weights,
        which newer versions of PyTorch rightly refuse. With a texture_weight, that times the texture loss of G(z) is
        added, in the images' type also under autocast.
        """
        with self._autocast():
            generator_fake = critic_score(self.discriminator, fake)
            loss, reconstruction = -generator_fake, torch.zeros_like(generator_fake)
            if self.config.alpha:
                reconstruction = F.mse_loss(self.generator(*rebuilt_from), real)
                loss = loss + self.config.alpha * reconstruction
        if self.texture is not None:
            loss = loss + self.config.texture_weight * self.texture(fake)
        self.optimizer_g.zero_grad()
        # naming the inputs leaves D without weight gradients: a fifth of the time
        loss.backward(inputs=trained_parameters(self.generator))
        self.optimizer_g.step()
        return generator_fake, reconstruction

    def _autocast(self) -> torch.autocast:
        """Convolutions in bfloat16 where that is the computing type. One for each step: it keeps copies of weights."""
        return torch.autocast(self.real.device.type, torch.bfloat16, enabled=self.view.dtype == torch.bfloat16)

    def _set_learning_rate(self, rate: float) -> None:
        for group in (*self.optimizer_g.param_groups, *self.optimizer_d.param_groups):
            if isinstance(group["lr"], Tensor):  # as a recorded graph reads it
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _reconstruction_from_below(self) -> Tensor:
        """The reconstruction of the finished levels, brought to this level's size."""
        model, shape = self.model, self.model.shape
        with torch.no_grad():
            image = model.generate(model.folded(), model.reconstruction_noise, shape, 0, self.index - 1)
            return upsample(image, shape.sizes[self.index], shape.factor)


# -- checkpoints: finished levels, the level in training, optimizers and random state, in one file


def save_checkpoint(path: Path, model: SinGAN, trainer: LevelTrainer, origin: str) -> None:
    """Write the whole state of a training, so that `load_checkpoint` goes on with the same bits.

    origin: the fingerprint of what is trained on.
    """
    trainer.raise_if_diverged()
    tensors, settings = pack(model)
    tensors["trainer.rng"] = trainer.rng.get_state()
    tensors["trainer.penalty"] = trainer.penalty
    tensors["trainer.history"] = trainer.history[: trainer.iteration]
    for name, network, optimizer in _trained_parts(trainer):
        tensors |= {f"trainer.{name}.{key}": value for key, value in network.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"trainer.adam_{name}.{number}.{key}": value for key, value in state.items()}
    settings |= {
        "iteration": trainer.iteration,
        "critic_steps": trainer.critic_steps,
        "device": trainer.rng.device.type,
        "origin": origin,
    }
    write_tensors(path, tensors, settings)


def load_checkpoint(
    path: Path, config: TrainConfig, reals: list[Tensor], rng: torch.Generator, origin: str
) -> tuple[SinGAN, LevelTrainer]:
    """Take up a training where `save_checkpoint` left it. Raises SinGANError for anything but this training's file."""
    tensors, settings = read_tensors(path)
    try:
        model = unpack(tensors, settings, reals[0].device)
        fits = model.config == config and model.shape.sizes == tuple(tuple(real.shape[-2:]) for real in reals)
        if not fits or settings["origin"] != origin:
            raise SinGANError(f"{path} belongs to another training, with other settings or another picture.")
        if settings["device"] != rng.device.type:
            raise SinGANError(
                f"{path} was trained on {settings['device']}: resume it there, with device={settings['device']!r}."
            )
        trainer = LevelTrainer(model, reals[len(model.levels)], rng)
        trainer.iteration, trainer.critic_steps = settings["iteration"], settings["critic_steps"]
        trainer.history[: trainer.iteration] = tensors["trainer.history"]
        trainer.penalty = tensors["trainer.penalty"].to(trainer.penalty)
        for name, network, optimizer in _trained_parts(trainer):
            prefix = f"trainer.{name}."
            network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"trainer.adam_{name}."):
                    number, field = key.split(".")[2:]
                    state.setdefault(int(number), {})[field] = value
            for number, parameter in enumerate(trained_parameters(network)):
                for field in ("exp_avg", "exp_avg_sq"):  # in the parameter's order in memory
                    if number in state:
                        state[number][field] = torch.empty_like(parameter).copy_(state[number][field])
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        rng.set_state(tensors["trainer.rng"])  # now: the trainer has drawn weights
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise SinGANError(
            f"{path} is not a checkpoint of this training ({error!r}). Delete it to start anew."
        ) from error
    return model, trainer


def _fingerprint(image: Tensor, targets: Targets | None) -> str:
    """Of photograph and targets as they were given: what is computed from them has other bits on other processors."""
    digest = hashlib.sha256(image.detach().cpu().contiguous().numpy())
    digest.update(targets_key(targets).encode())
    return digest.hexdigest()


def _trained_parts(trainer: LevelTrainer) -> list[tuple[str, torch.nn.Module, torch.optim.Optimizer]]:
    return [
        ("generator", trainer.generator, trainer.optimizer_g),
        ("discriminator", trainer.discriminator, trainer.optimizer_d),
    ]
