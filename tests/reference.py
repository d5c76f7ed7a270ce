"""SinGAN's training loop written out plainly: the yardstick for the fast one, and the place to read the algorithm.

Nothing here comes from `singan_core`: plain PyTorch, one line per line of the paper or of the authors' loop, no
concern for speed. It follows the released code (https://github.com/tamarott/SinGAN) with five differences, which the
package makes too: z* is drawn once, as the paper says; images are resized in floating point, without the detour through
8 bits; the fake is computed again in each generator step, because PyTorch refuses to reuse the graph of weights that
have changed; convolution biases in front of batch norm are not trained, because their gradient is nothing but rounding
error, which Adam scales up to full steps; random numbers come from one explicit generator.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

LAYERS = 5
PAD = 5  # (kernel size - 1) * layers / 2


# -- resize: MATLAB's imresize, bicubic, one output pixel at a time


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def resize_rows(image, out_height, ratio):
    """Resize (1, 3, H, W) along its height; pixels beyond the border are mirrored."""
    height = image.shape[2]
    shrink = min(ratio, 1.0)
    rows = []
    for i in range(out_height):
        centre = (i + 0.5) / ratio - 0.5
        first, last = math.floor(centre - 2 / shrink), math.ceil(centre + 2 / shrink)
        row, total = 0.0, 0.0
        for j in range(first, last + 1):
            weight = cubic((centre - j) * shrink)
            source = j % (2 * height)
            if source >= height:
                source = 2 * height - 1 - source
            row = row + weight * image[:, :, source : source + 1, :]
            total += weight
        rows.append(row / total)
    return torch.cat(rows, dim=2)


def imresize(image, ratio):
    """Resize by a ratio to ceil(ratio * side) pixels; clamped before and after, as 8-bit images are."""
    out_height, out_width = math.ceil(ratio * image.shape[2]), math.ceil(ratio * image.shape[3])
    image = resize_rows(image.clamp(-1, 1), out_height, ratio)
    image = resize_rows(image.transpose(2, 3), out_width, ratio).transpose(2, 3)
    return image.clamp(-1, 1)


def crop(image, like):
    return image[:, :, : like.shape[2], : like.shape[3]]


def zero_pad(image):
    return F.pad(image, (PAD, PAD, PAD, PAD))


# -- pyramid


def make_pyramid(image, min_size, max_size, scale_factor):
    """Level images, coarsest first, and the adjusted factor."""
    height, width = image.shape[2:]
    real = imresize(image, min(max_size / max(height, width), 1))
    num_scales = math.ceil(math.log(min_size / min(height, width), scale_factor)) + 1
    to_max = math.ceil(math.log(min(max_size, max(height, width)) / max(height, width), scale_factor))
    stop_scale = num_scales - to_max
    factor = (min_size / min(real.shape[2], real.shape[3])) ** (1 / stop_scale)
    return [imresize(real, factor ** (stop_scale - i)) for i in range(stop_scale + 1)], factor


# -- networks


def block(in_channels, kernels):
    conv = nn.Conv2d(in_channels, kernels, 3)
    conv.bias.requires_grad_(False)  # batch norm removes it; see the difference named above
    return [conv, nn.BatchNorm2d(kernels), nn.LeakyReLU(0.2)]


def network(kernels, out_channels):
    layers = block(3, kernels) + block(kernels, kernels) + block(kernels, kernels) + block(kernels, kernels)
    return nn.Sequential(*layers, nn.Conv2d(kernels, out_channels, 3))


def initialise(net, rng):
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.Conv2d):
                fan_in = module.in_channels * 9
                module.weight.normal_(0, 0.02, generator=rng)
                module.bias.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=rng)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1, 0.02, generator=rng)
                module.bias.zero_()


def trained(net):
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def generate(net, noise, prev):
    """psi(z + prev) + prev; both come padded, the output has the size before padding."""
    return torch.tanh(net(noise + prev)) + prev[:, :, PAD:-PAD, PAD:-PAD]


# -- training


def train_reference(
    reals, factor, *, kernels, double_kernels_every, max_kernels, iterations, decay_at,
    discriminator_steps, generator_steps, learning_rate, penalty_weight, alpha, noise_amplitude, seed,
    on_iteration=None,
):  # fmt: skip
    """Train on the level images and factor of `make_pyramid`.

    Returns (levels, z_star), with one dict per level: netG, netD, amplitude, real, losses. on_iteration(level) is
    called after each iteration.
    """
    rng = torch.Generator(reals[0].device).manual_seed(seed)
    like = {"dtype": reals[0].dtype, "device": reals[0].device}
    z_star = torch.randn(1, 1, *reals[0].shape[2:], generator=rng, **like)
    levels = []

    def draw_from_below(mode):
        """An image of the finished levels at the size of the level in training."""
        prev = torch.zeros_like(reals[0])
        for level, finished in enumerate(levels):
            if level == 0:
                noise = z_star if mode == "rec" else torch.randn(z_star.shape, generator=rng, **like)
                noise = noise.expand(1, 3, -1, -1)
            else:
                noise = torch.randn(reals[level].shape, generator=rng, **like) if mode == "rand" else 0 * reals[level]
            prev = crop(prev, reals[level])
            fake = generate(finished["netG"], zero_pad(finished["amplitude"] * noise), zero_pad(prev))
            prev = crop(imresize(fake, 1 / factor), reals[level + 1])
        return prev.detach()

    for level, real in enumerate(reals):
        width = min(kernels * 2 ** (level // double_kernels_every), max_kernels)
        net_g, net_d = network(width, 3).to(real), network(width, 1).to(real)
        if levels and levels[-1]["width"] == width:
            net_g.load_state_dict(levels[-1]["netG"].state_dict())
            net_d.load_state_dict(levels[-1]["netD"].state_dict())
        else:
            initialise(net_g, rng)
            initialise(net_d, rng)
        adam_g = torch.optim.Adam(trained(net_g), lr=learning_rate, betas=(0.5, 0.999))
        adam_d = torch.optim.Adam(trained(net_d), lr=learning_rate, betas=(0.5, 0.999))
        milestone = math.ceil(decay_at * iterations)
        schedule_g = torch.optim.lr_scheduler.MultiStepLR(adam_g, [milestone], 0.1)
        schedule_d = torch.optim.lr_scheduler.MultiStepLR(adam_d, [milestone], 0.1)

        if level == 0:
            amplitude = 1.0
            rec_noise, rec_prev = z_star.expand(1, 3, -1, -1), torch.zeros_like(real)
        else:
            rec_noise, rec_prev = torch.zeros_like(real), draw_from_below("rec")
            amplitude = noise_amplitude * torch.sqrt(F.mse_loss(real, rec_prev)).item()
        rec_noise, rec_prev = zero_pad(rec_noise), zero_pad(rec_prev)

        losses = []
        for _ in range(iterations):
            noise_shape = (1, 1, *real.shape[2:]) if level == 0 else real.shape
            noise = amplitude * zero_pad(torch.randn(noise_shape, generator=rng, **like))

            for _ in range(discriminator_steps):
                prev = zero_pad(draw_from_below("rand")) if level else torch.zeros_like(rec_prev)
                adam_d.zero_grad()
                d_real = net_d(real).mean()
                (-d_real).backward()
                fake = generate(net_g, noise, prev)
                d_fake = net_d(fake.detach()).mean()
                d_fake.backward()
                mix = torch.rand((), generator=rng, **like)
                between = (mix * real + (1 - mix) * fake.detach()).requires_grad_()
                (slope,) = torch.autograd.grad(net_d(between).sum(), between, create_graph=True)
                penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
                (penalty_weight * penalty).backward()
                adam_d.step()

            for _ in range(generator_steps):
                adam_g.zero_grad()
                g_fake = net_d(generate(net_g, noise, prev)).mean()
                (-g_fake).backward()
                rec = F.mse_loss(generate(net_g, amplitude * rec_noise, rec_prev), real)
                (alpha * rec).backward()
                adam_g.step()

            schedule_g.step()
            schedule_d.step()
            losses.append([x.item() for x in (d_real, d_fake, penalty, g_fake, rec)])
            if on_iteration is not None:
                on_iteration(level)

        net_g.eval()
        net_d.eval()
        levels.append(
            {"netG": net_g, "netD": net_d, "amplitude": amplitude, "real": real, "losses": losses, "width": width}
        )
    return levels, z_star
