"""Pictures and masks: what goes in comes out, and everything else ends in a SinGANError that helps."""

import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from singan_core import images
from singan_core.errors import SinGANError
from singan_core.images import (
    bounding_box,
    check_image,
    check_mask,
    data_folder,
    from_array,
    load_image,
    load_mask,
    mask_to_array,
    sample_image,
    sample_mask,
    sample_names,
    save_image,
    to_array,
)

# The temporary folder is shared by the examples of a test; each example overwrites its own file.
varied = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
sides = st.integers(1, 12)


def pictures(channels=3):
    shape = st.tuples(sides, sides, st.just(channels)) if channels else st.tuples(sides, sides)
    return shape.flatmap(lambda sized: hnp.arrays(np.uint8, sized))


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encode(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour_type, rows, extra=b""):
    """Write a PNG by hand, for the kinds that Pillow cannot write: 16-bit colour and headers that lie."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def written(folder, content, name="picture.png"):
    path = folder / name
    path.write_bytes(content)
    return path


def over_white(rgba):
    """The expected 8-bit colours of an RGBA picture over white."""
    opacity = rgba[..., 3:] / 255.0
    return rgba[..., :3] * opacity + 255 * (1 - opacity)


def steps(image):
    """Values on the scale 0..255 without rounding, (H, W, 3)."""
    return (image[0].permute(1, 2, 0).double().numpy() + 1) * 127.5


def assert_is_image(image, height, width):
    assert image.shape == (1, 3, height, width)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert image.min() >= -1 and image.max() <= 1


# --- arrays ---------------------------------------------------------------------------------------------------------


@varied
@given(pictures())
def test_eight_bit_colour_survives_the_round_trip_exactly(array):
    image = from_array(array)
    assert_is_image(image, *array.shape[:2])
    np.testing.assert_array_equal(to_array(image), array)


@varied
@given(hnp.arrays(np.float32, st.tuples(st.just(3), sides, sides), elements=st.floats(-1, 1, width=32)))
def test_rounding_to_eight_bits_moves_a_value_by_at_most_half_a_step(values):
    image = torch.from_numpy(values)[None]
    # One step is 2/255 = 1/127.5; 1e-6 is the float32 rounding of the conversion.
    assert (from_array(to_array(image)) - image).abs().max() <= 1 / 255 + 1e-6


@varied
@given(pictures(channels=None))
def test_gray_becomes_three_equal_channels(array):
    for gray in (array, array[..., None]):
        np.testing.assert_array_equal(to_array(from_array(gray)), np.repeat(array[..., None], 3, axis=-1))


@varied
@given(pictures(channels=4))
def test_opacity_is_laid_over_white(array):
    # 1e-3 of an 8-bit step: float32 against the double-precision formula.
    np.testing.assert_allclose(steps(from_array(array)), over_white(array), atol=1e-3)


@pytest.mark.parametrize(
    "white",
    [np.uint8(255), np.uint16(65535), np.bool_(True), np.float16(1), np.float32(1), np.float64(1)],
    ids=lambda value: value.dtype.name,
)
def test_every_accepted_kind_spans_minus_one_to_one(white):
    array = np.zeros((2, 3), white.dtype)
    array[0] = white
    image = from_array(array)
    assert image.dtype == torch.float32
    assert torch.equal(image[0, :, 0], torch.ones(3, 3)) and torch.equal(image[0, :, 1], -torch.ones(3, 3))


def test_sixteen_bits_keep_their_precision_in_any_byte_order():
    array = np.array([[0, 1, 257, 65534, 65535]], np.uint16)
    # 2/65535 is the 16-bit step; float32 near 1 is exact to 6e-8.
    expected = array / 65535.0 * 2 - 1
    for ordered in (array, array.astype(">u2"), array.astype("<u2")):
        np.testing.assert_allclose(from_array(ordered)[0, 0].numpy(), expected, atol=1.2e-7)


def test_flipped_and_read_only_views_are_accepted_and_left_alone():
    array = noise(4, 5)
    view = array[::-1, ::-1]
    view.setflags(write=False)
    image = from_array(view)
    image.zero_()
    np.testing.assert_array_equal(array, noise(4, 5))


def test_floats_a_rounding_error_outside_are_clamped():
    image = from_array(np.array([[-5e-5, 1 + 5e-5]]))
    assert image.min() == -1 and image.max() == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), np.inf), "infinite"),
        (np.full((2, 2), -np.inf, np.float16), "infinite"),
        (np.full((2, 2), 255.0), r"255.*\[0, 1\]"),
        (np.full((2, 2), -1.0), r"-1.*\[0, 1\]"),
        (np.zeros(3), r"\(3,\)"),
        (np.float32(0.5) + np.zeros(()), "must be"),
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.zeros((3, 8, 9)), r"\(3, 8, 9\)"),
        (np.zeros((1, 4, 4, 3)), r"\(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "not empty"),
        (np.zeros((4, 0), np.uint8), "not empty"),
        (np.zeros((2, 2), object), "object"),
        (np.zeros((2, 2), np.int64), "int64.*astype"),
        (np.zeros((2, 2), np.uint32), "uint32.*astype"),
        (np.zeros((2, 2), np.int8), "int8"),
        (np.zeros((2, 2), complex), "complex"),
        (np.zeros((2, 2), "U3"), "U3"),
        ([[0, 1]], "list"),
        (torch.zeros(2, 2), "Tensor"),
        (None, "NoneType"),
    ],
)
def test_an_array_that_is_no_picture_is_refused_by_name_of_its_fault(array, message):
    with pytest.raises(SinGANError, match=message):
        from_array(array)


def test_values_beyond_the_range_are_clamped_by_to_array():
    array = to_array(torch.tensor([-7.0, 0.0, 7.0, float("inf")]).expand(1, 3, 1, 4))
    np.testing.assert_array_equal(array[0, :, 0], [0, 128, 255, 255])


def test_a_batch_keeps_its_axis_and_a_single_image_loses_it():
    assert to_array(torch.zeros(4, 3, 5, 6)).shape == (4, 5, 6, 3)
    assert to_array(torch.zeros(1, 3, 5, 6)).shape == (5, 6, 3)
    assert to_array(torch.zeros(3, 5, 6)).shape == (5, 6, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_to_array_takes_other_float_types_and_tensors_that_need_a_gradient(dtype):
    image = torch.ones(1, 3, 2, 2, dtype=dtype, requires_grad=True)
    assert to_array(image).min() == 255


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((1, 3, 2, 2), float("nan")), "NaN"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "floats"),
        (torch.zeros(1, 1, 2, 2), r"\(N, 3, H, W\)"),
        (torch.zeros(2, 2, 3), "channels before the height"),
        (torch.zeros(0, 3, 2, 2), "not empty"),
        (np.zeros((2, 2, 3)), "from_array"),
    ],
)
def test_to_array_refuses_what_is_no_image(image, message):
    with pytest.raises(SinGANError, match=message):
        to_array(image)


@varied
@given(pictures(channels=None))
def test_soft_masks_become_gray_arrays(array):
    mask = torch.from_numpy(array.astype(np.float32) / 255)[None, None]
    np.testing.assert_array_equal(mask_to_array(mask), array)


def test_soft_masks_are_rounded_to_the_nearest_step():
    mask = torch.tensor([[0.4, 0.6, 254.4, 254.6]])[None, None] / 255
    assert mask_to_array(mask).tolist() == [[0, 1, 254, 255]]


# --- reading files --------------------------------------------------------------------------------------------------

LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {}), ("PPM", {})]


@pytest.mark.parametrize(("file_format", "options"), LOSSLESS, ids=[name for name, _ in LOSSLESS])
@varied
@given(array=pictures())
def test_lossless_files_load_exactly(tmp_path, file_format, options, array):
    path = written(tmp_path, encode(Image.fromarray(array), file_format, **options))
    image = load_image(path)
    assert_is_image(image, *array.shape[:2])
    np.testing.assert_array_equal(to_array(image), array)
    assert torch.equal(load_image(str(path)), image)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [(mode, file_format) for mode in ("1", "L", "P", "LA", "RGBA") for file_format in ("PNG", "TIFF")]
    + [("PA", "TIFF")],
)
def test_modes_load_as_the_colours_they_show(tmp_path, mode, file_format):
    picture = Image.fromarray(noise(6, 7, 4), "RGBA") if mode in ("LA", "RGBA") else Image.fromarray(noise(6, 7))
    picture = picture.convert("P").convert("PA") if mode == "PA" else picture.convert(mode)
    expected = over_white(np.asarray(picture.convert("RGBA")))
    image = load_image(written(tmp_path, encode(picture, file_format)))
    assert_is_image(image, 6, 7)
    np.testing.assert_allclose(steps(image), expected, atol=1e-3)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 128])], ids=["one colour", "per colour"])
def test_a_palette_with_transparency_shows_white_through(tmp_path, transparency):
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.putdata([0, 1, 2])
    loaded = to_array(load_image(written(tmp_path, encode(picture, "PNG", transparency=transparency))))
    np.testing.assert_array_equal(loaded[0, :2], [[10, 20, 30], [255, 255, 255]])
    half = np.array([70, 80, 90]) * 128 / 255 + 255 * 127 / 255
    # Half a step for the rounding to 8 bits.
    np.testing.assert_allclose(loaded[0, 2], [70, 80, 90] if transparency == 1 else half, atol=0.5)


def test_a_transparent_gray_level_of_png_shows_white(tmp_path):
    content = encode(Image.fromarray(np.array([[10, 20, 30]], np.uint8)), "PNG", transparency=20)
    assert to_array(load_image(written(tmp_path, content)))[0, :, 0].tolist() == [10, 255, 30]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_gray_keeps_its_precision(tmp_path, file_format):
    array = np.array([[0, 1, 300], [40000, 65534, 65535]], np.uint16)
    image = load_image(written(tmp_path, encode(Image.fromarray(array), file_format)))
    assert torch.equal(image, from_array(array))


@pytest.mark.parametrize("clear", [300, 65535])
def test_a_transparent_gray_level_of_sixteen_bits_shows_white(tmp_path, clear):
    array = np.array([[0, 300, 40000, 65535]], np.uint16)
    loaded = load_image(written(tmp_path, encode(Image.fromarray(array), "PNG", transparency=clear)))
    assert torch.equal(loaded, from_array(np.where(array == clear, 65535, array).astype(np.uint16)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_gray_tiff_is_positive_whichever_value_it_has_for_white(tmp_path, kind, photometric):
    array = np.array([[0, 1, 200], [100, 254, 255]], kind) * kind(257 if kind is np.uint16 else 1)
    stored = np.iinfo(kind).max - array if photometric == "miniswhite" else array
    tifffile.imwrite(tmp_path / "gray.tif", stored, photometric=photometric)
    assert torch.equal(load_image(tmp_path / "gray.tif"), from_array(array))


def test_sixteen_bit_gray_of_either_byte_order_keeps_its_precision(tmp_path):
    array = np.array([[0, 1, 1000], [32768, 65534, 65535]])
    for mode, kind in (("I;16", "<u2"), ("I;16B", ">u2")):
        picture = Image.frombytes(mode, (3, 2), array.astype(kind).tobytes())
        loaded = load_image(written(tmp_path, encode(picture, "TIFF"), f"{mode[2:]}.tif"))
        np.testing.assert_allclose((loaded[0, 0].double().numpy() + 1) * 65535 / 2, array, atol=0.01)


def test_sixteen_bit_gray_read_as_integers_is_scaled_by_65535(tmp_path):
    array = np.array([[0, 300, 65535]], np.int32)
    found = images._decoded_to_array(Image.fromarray(array), negative=False)  # as older Pillow reads a PNG
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 255, 65536])
@pytest.mark.parametrize("load", [load_image, load_mask])
def test_integers_of_32_bits_are_refused_because_their_scale_is_unknown(tmp_path, value, load):
    path = written(tmp_path, encode(Image.fromarray(np.full((2, 2), value, np.int32)), "TIFF"))
    with pytest.raises(SinGANError, match="full scale is unknown"):
        load(path)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_sixteen_bit_colour_loads_to_within_an_eight_bit_step(tmp_path, colour_type, channels):
    array = np.random.default_rng(0).integers(0, 65536, (3, 4, channels)).astype(">u2")
    content = png(4, 3, 16, colour_type, b"".join(b"\0" + row.tobytes() for row in array))
    rgba = array / 257.0
    if channels == 2:
        rgba = rgba[..., [0, 0, 0, 1]]
    elif channels == 3:
        rgba = np.concatenate([rgba, np.full((3, 4, 1), 255.0)], axis=-1)
    # Pillow keeps the high byte of colour and of opacity: each is off by less than a step, the blend by two.
    np.testing.assert_allclose(steps(load_image(written(tmp_path, content))), over_white(rgba), atol=2)


def test_float_tiff_is_read_as_zero_to_one(tmp_path):
    array = np.array([[0, 0.25, 1]], np.float32)
    assert torch.equal(load_image(written(tmp_path, encode(Image.fromarray(array), "TIFF"))), from_array(array))


@pytest.mark.parametrize(("value", "message"), [(2.0, "2.*scale"), (float("nan"), "NaN"), (-0.5, "-0.5")])
def test_float_tiff_of_another_range_is_refused_with_its_name(tmp_path, value, message):
    path = written(tmp_path, encode(Image.fromarray(np.full((2, 2), value, np.float32)), "TIFF"), "depth.tif")
    with pytest.raises(SinGANError, match=f"depth.tif.*{message}"):
        load_image(path)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_shows_its_colours(tmp_path, file_format):
    picture = Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK")
    loaded = to_array(load_image(written(tmp_path, encode(picture, file_format))))
    # JPEG may move a flat colour by a few steps.
    np.testing.assert_allclose(loaded.reshape(-1, 3).mean(axis=0), [200, 40, 90], atol=4)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG", "MPO"])
def test_of_several_frames_the_first_is_taken(tmp_path, file_format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    frames[0].save(tmp_path / "frames", file_format, save_all=True, append_images=frames[1:], **options)
    loaded = to_array(load_image(tmp_path / "frames"))
    # MPO is JPEG, the format of some cameras: a few steps off.
    np.testing.assert_allclose(loaded, np.broadcast_to([255, 0, 0], (6, 8, 3)), atol=4)


def stored_turned(array, orientation):
    """The pixels as a camera stores them for this EXIF orientation, so that `array` is what a viewer shows."""
    return {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: np.rot90(array, 1),
        7: np.rot90(array, 2).transpose(1, 0, 2),
        8: np.rot90(array, -1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied(tmp_path, file_format, orientation):
    array = noise(5, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored_turned(array, orientation)))
    options = {"lossless": True} if file_format == "WEBP" else {}
    path = written(tmp_path, encode(picture, file_format, exif=exif, **options))
    np.testing.assert_array_equal(to_array(load_image(path)), array)
    assert load_mask(path).shape == (1, 1, 5, 8)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_rotation_of_a_photograph_is_applied(tmp_path, orientation):
    array = np.zeros((16, 32, 3), np.uint8)
    array[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored_turned(array, orientation)))
    loaded = to_array(load_image(written(tmp_path, encode(picture, "JPEG", exif=exif, quality=95))))
    # The white block fills one 8 x 8 block of JPEG, so that only its rounding is left.
    np.testing.assert_allclose(loaded, array, atol=8)


@varied
@given(changes=st.lists(st.tuples(st.integers(0, 75), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_exif_does_not_keep_a_picture_from_loading(tmp_path, changes):
    exif = Image.Exif()
    exif.update({0x0112: 3, 0x010F: "maker", 0x9003: "2020:01:01 00:00:00"})
    content = bytearray(encode(Image.fromarray(noise(9, 9)), "JPEG", exif=exif))
    start = content.index(exif.tobytes()[6:])
    for place, value in changes:
        content[start + place] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of the damage
        assert load_image(written(tmp_path, bytes(content))).shape == (1, 3, 9, 9)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_one_pixel_and_extreme_shapes_survive(tmp_path, height, width, suffix):
    image = from_array(noise(height, width))
    save_image(image, tmp_path / f"long{suffix}")
    assert_is_image(load_image(tmp_path / f"long{suffix}"), height, width)


# --- files that are no pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_image, load_mask])
def test_missing_files_and_folders_are_told_apart(tmp_path, load):
    with pytest.raises(SinGANError, match="no file"):
        load(tmp_path / "missing.png")
    with pytest.raises(SinGANError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(SinGANError):
        load(written(tmp_path, b"x") / "below_a_file.png")


@pytest.mark.parametrize("path", [None, 3, noise(2, 2), torch.zeros(2), b"bytes.png"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(SinGANError, match="path must be"):
        load_image(path)


@pytest.mark.parametrize("path", ["", "a\0b.png", "x" * 300 + ".png", "~no_such_user/a.png"])
def test_odd_paths_are_refused(path):
    with pytest.raises(SinGANError):
        load_image(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"this is text, whatever its name says\n" * 9, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["empty", "one byte", "text", "PostScript"],
)
def test_other_content_under_a_picture_name_is_refused(tmp_path, content):
    with pytest.raises(SinGANError, match="none of PNG"):
        load_image(written(tmp_path, content))


WHOLE = {
    "PNG": encode(Image.fromarray(noise(5, 6)), "PNG"),
    "PNG palette": encode(Image.fromarray(noise(5, 6)).quantize(8), "PNG"),
    "PNG 16 bit": encode(Image.fromarray(noise(5, 6, 2).view(np.uint16)[..., 0]), "PNG"),
    "JPEG": encode(Image.fromarray(noise(5, 6)), "JPEG", optimize=True),
    "JPEG gray": encode(Image.fromarray(noise(5, 6)).convert("L"), "JPEG", optimize=True),
    "JPEG progressive": encode(Image.fromarray(noise(5, 6)), "JPEG", progressive=True),
    "WEBP": encode(Image.fromarray(noise(5, 6)), "WEBP"),
    "GIF": encode(Image.fromarray(noise(5, 6)), "GIF"),
    "TIFF": encode(Image.fromarray(noise(5, 6)), "TIFF"),
    "TIFF packed": encode(Image.fromarray(noise(5, 6)), "TIFF", compression="tiff_lzw"),
    "BMP": encode(Image.fromarray(noise(5, 6)), "BMP"),
    "PPM": encode(Image.fromarray(noise(5, 6)), "PPM"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_short_anywhere_is_refused_or_loads_whole(tmp_path, kind):
    whole = load_image(written(tmp_path, WHOLE[kind]))
    loaded = 0
    # Every cut, not a sample: the trap is the one cut that decodes to a gray lower half.
    for length in range(len(WHOLE[kind])):
        path = written(tmp_path, WHOLE[kind][:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image = load_image(path)
            except SinGANError:
                continue
        loaded += 1
        assert torch.equal(image, whole), length
    # What may be missing is no pixel data: the end of the deflate stream (1), two checksums (4 each) and the end mark
    # (12) of PNG, the end mark of GIF, the padding of BMP.
    assert loaded <= {"PNG": 21, "GIF": 2, "BMP": 3}.get(kind.split()[0], 0)


@varied
@given(content=st.binary(max_size=400), kind=st.sampled_from(sorted(WHOLE)), kept=st.integers(0, 60))
def test_random_bytes_behind_a_true_header_never_end_in_another_error(tmp_path, content, kind, kept):
    path = written(tmp_path, WHOLE[kind][:kept] + content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for load, channels in ((load_image, 3), (load_mask, 1)):
            try:
                loaded = load(path)
            except SinGANError:
                continue
            assert loaded.shape[:2] == (1, channels) and loaded.isfinite().all()


@varied
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_flipped_bytes_never_end_in_another_error(tmp_path, kind, changes):
    content = bytearray(WHOLE[kind])
    for place, value in changes:
        content[int(place * len(content))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = load_image(written(tmp_path, bytes(content)))
        except SinGANError:
            return
    assert_is_image(image, *image.shape[2:])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (9000, 9000), (2**31 - 1, 1)])
def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(tmp_path, width, height):
    before = Image.MAX_IMAGE_PIXELS
    path = written(tmp_path, png(width, height, 8, 2, b""))
    with pytest.raises(SinGANError, match="too large"):
        load_image(path)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_pixel_limit_is_our_own(tmp_path, monkeypatch):
    path = written(tmp_path, encode(Image.fromarray(noise(10, 10)), "PNG"))
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert_is_image(load_image(path), 10, 10)
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(SinGANError, match=r"too large \(10 x 10 pixels"):
        load_image(path)


# --- masks ----------------------------------------------------------------------------------------------------------


@varied
@given(array=pictures(channels=None))
def test_gray_masks_are_cut_at_half(tmp_path, array):
    mask = load_mask(written(tmp_path, encode(Image.fromarray(array), "PNG")))
    assert mask.dtype == torch.float32
    np.testing.assert_array_equal(mask[0, 0].numpy(), array >= 128)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "F", "CMYK"])
def test_a_mask_may_have_any_mode(tmp_path, mode):
    expected = noise(5, 6, 1)[..., 0] >= 128
    if mode in ("I;16", "F"):
        kind, white = {"I;16": (np.uint16, 65535), "F": (np.float32, 1)}[mode]
        picture = Image.fromarray(expected.astype(kind) * kind(white))
    else:
        picture = Image.fromarray(expected.astype(np.uint8) * 255).convert("RGB").convert(mode)
    mask = load_mask(written(tmp_path, encode(picture, "TIFF")))
    np.testing.assert_array_equal(mask[0, 0].numpy(), expected)


def test_the_noise_of_jpeg_does_not_count_as_set(tmp_path):
    expected = np.zeros((64, 64), np.uint8)
    expected[16:48, 24:56] = 255
    path = written(tmp_path, encode(Image.fromarray(expected), "JPEG", quality=60), "mask.jpg")
    expected[3, 3] = 9
    assert (np.asarray(Image.open(path)) > 0).sum() >= 32 * 32
    np.testing.assert_array_equal(load_mask(path)[0, 0].numpy(), expected >= 128)


def test_transparent_pixels_are_not_set_and_strong_colours_are(tmp_path):
    colours = [(255, 255, 255, 0), (255, 255, 255, 255), (255, 0, 0, 255), (0, 0, 0, 255), (255, 255, 255, 100)]
    content = encode(Image.fromarray(np.array([colours], np.uint8)), "PNG")
    assert load_mask(written(tmp_path, content)).flatten().tolist() == [0, 1, 1, 0, 0]


def test_an_empty_mask_is_allowed(tmp_path):
    mask = load_mask(written(tmp_path, encode(Image.new("L", (4, 3)), "PNG")))
    assert mask.shape == (1, 1, 3, 4) and mask.sum() == 0


@varied
@given(array=pictures(channels=None), height=st.integers(1, 30), width=st.integers(1, 30))
def test_a_mask_is_resized_by_nearest_neighbour(tmp_path, array, height, width):
    mask = load_mask(written(tmp_path, encode(Image.fromarray(array), "PNG")), size=(height, width))
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(int)
    expected = (array >= 128)[rows][:, columns]
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    # Where a sample falls on the edge between two pixels, float32 may pick either.
    off_edge = [
        np.abs(np.modf((np.arange(n) + 0.5) * m / n)[0] - 0.5) < 0.499
        for n, m in zip((height, width), array.shape, strict=True)
    ]
    inside = np.ix_(*off_edge)
    np.testing.assert_array_equal(mask[0, 0].numpy()[inside], expected[inside])


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,), 4, (4, 4, 4), "ab", (2.5, 3), (10**6, 10**6), (None, 2)])
def test_a_wrong_mask_size_is_refused(tmp_path, size):
    path = written(tmp_path, encode(Image.new("L", (4, 3)), "PNG"))
    with pytest.raises(SinGANError, match="height, width"):
        load_mask(path, size=size)


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp", ".ppm", ".webp"])
def test_saving_without_loss_gives_the_same_image_back(tmp_path, suffix):
    image = from_array(noise(6, 7))
    save_image(image, tmp_path / f"new{suffix}")
    assert torch.equal(load_image(tmp_path / f"new{suffix}"), image)


def test_jpeg_keeps_fine_texture_and_colour(tmp_path):
    image = from_array(noise(32, 32))
    save_image(image, tmp_path / "new.jpg")
    error = 127.5 * (load_image(tmp_path / "new.jpg") - image).square().mean().sqrt()
    assert error < 5


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".gif"])
def test_saving_with_loss_keeps_the_picture_close(tmp_path, suffix):
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    image = from_array(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1))
    save_image(image, str(tmp_path / f"new{suffix}"))
    # JPEG at quality 95 and a palette of 256 colours stay within a few of 255 steps on a smooth ramp.
    assert (load_image(tmp_path / f"new{suffix}") - image).abs().max() < 8 / 127.5


@pytest.mark.parametrize("suffix", sorted(images.SUFFIXES))
def test_a_mask_can_be_saved_and_loaded(tmp_path, suffix):
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 8:, 8:16] = 1
    save_image(mask, tmp_path / f"mask{suffix}")
    assert torch.equal(load_mask(tmp_path / f"mask{suffix}"), mask)


def test_missing_folders_are_made(tmp_path):
    save_image(torch.zeros(1, 3, 2, 2), tmp_path / "a" / "b" / "c.png")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.png"]


def test_samples_beyond_the_range_are_clamped_when_saved(tmp_path):
    save_image(torch.full((1, 3, 2, 2), 1.2), tmp_path / "bright.png")
    assert load_image(tmp_path / "bright.png").min() == 1


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    save_image(torch.zeros(1, 3, 2, 2), tmp_path / "new.png")
    assert (tmp_path / "new.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 3, 4, 4), "one image, got 2"),
        (torch.zeros(2, 1, 4, 4), "single"),
        (torch.zeros(1, 2, 4, 4), r"\(1, 2, 4, 4\)"),
        (torch.full((1, 3, 4, 4), float("nan")), "NaN"),
        (torch.full((1, 1, 4, 4), -1.0), r"\[0, 1\]"),
        (noise(4, 4), "from_array"),
        ("picture.png", "got str"),
    ],
)
def test_what_is_no_single_image_is_not_saved(tmp_path, image, message):
    with pytest.raises(SinGANError, match=message):
        save_image(image, tmp_path / "new.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["picture", "picture.xyz", "picture.eps", "picture.", ".png", ""])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(SinGANError, match=r"\.png, \.jpg"):
        save_image(torch.zeros(1, 3, 2, 2), os.path.join(tmp_path, name) if name else name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif"])
def test_a_picture_too_wide_for_its_format_is_refused_with_one_that_holds_it(tmp_path, suffix):
    with pytest.raises(SinGANError, match=r"1 x 65536 pixels.*\.png"):
        save_image(torch.zeros(1, 3, 1, 65536), tmp_path / f"wide{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    below_a_file = written(tmp_path, b"x", "file") / "folder" / "new.png"
    (tmp_path / "folder.png").mkdir()
    for path in (below_a_file, tmp_path / "folder.png", tmp_path / "a\0b.png", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(SinGANError, match="Cannot write"):
            save_image(torch.zeros(1, 3, 2, 2), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = written(tmp_path, b"old")

    def fill_the_disk(self, content):
        with open(self, "wb") as file:
            file.write(content[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(SinGANError, match="No space left"):
        save_image(torch.zeros(1, 3, 2, 2), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = written(tmp_path, b"old")

    def interrupt(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_image(torch.zeros(1, 3, 2, 2), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_a_file_the_system_cuts_off_is_not_left_behind(tmp_path, suffix):
    path = written(tmp_path, b"old", f"picture{suffix}")
    resource = pytest.importorskip("resource", reason="only POSIX systems can limit the size of a file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    image = from_array(noise(64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))  # a real failure half-way, unlike the two above
    try:
        with pytest.raises(SinGANError, match="Cannot write"):
            save_image(image, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# --- checks ---------------------------------------------------------------------------------------------------------


@varied
@given(hnp.arrays(np.float32, st.tuples(sides, st.just(3), sides, sides), elements=st.floats(-1, 1, width=32)))
def test_a_good_image_is_returned_as_it_is(values):
    image = torch.from_numpy(values)
    assert check_image(image) is image


def test_rounding_errors_pass_the_checks_and_larger_ones_do_not():
    image, mask = torch.full((1, 3, 2, 2), 1 + 9e-5), torch.full((1, 1, 2, 2), -9e-5)
    assert check_image(image) is image and check_mask(mask) is mask
    with pytest.raises(SinGANError, match="clamp"):
        check_image(image + 1e-4)
    with pytest.raises(SinGANError, match="clamp"):
        check_mask(mask - 1e-4)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), "numpy array.*from_array"),
        ("mountains.jpg", "str.*load_image"),
        (None, "NoneType"),
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\).*photo\[None\]"),
        (torch.zeros(4, 5, 3), r"\(4, 5, 3\).*channels before"),
        (torch.zeros(1, 4, 5, 3), r"\(1, 4, 5, 3\).*channels before"),
        (torch.zeros(1, 1, 4, 4), "expand"),
        (torch.zeros(1, 4, 4, 4), r"\(1, 4, 4, 4\)"),
        (torch.zeros(4, 4), r"\(4, 4\)"),
        (torch.zeros(0, 3, 4, 4), "not empty"),
        (torch.zeros(1, 3, 0, 4), "not empty"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.float64), r"float64.*photo\.float\(\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "uint8.*from_array"),
        (torch.full((1, 3, 4, 4), 255.0), r"255.*photo / 127\.5 - 1"),
        (torch.full((1, 3, 4, 4), -1.5), r"-1\.5.*clamp"),
        (torch.tensor([0.0, float("nan")]).expand(1, 3, 2, 2), "NaN"),
        (torch.tensor([0.0, float("inf")]).expand(1, 3, 2, 2), "infinite"),
    ],
)
def test_a_wrong_image_is_refused_with_what_was_found_and_a_remedy(image, message):
    with pytest.raises(SinGANError, match=f"photo.*{message}"):
        check_image(image, name="photo")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 4)), r"numpy array.*\[None, None\]"),
        ("mask.png", "str.*load_mask"),
        (torch.zeros(1, 3, 4, 4), r"\(1, 3, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4), "single"),
        (torch.zeros(1, 4, 4), r"mask\[None\]"),
        (torch.zeros(4, 4), r"\(4, 4\).*mask\[None, None\]"),
        (torch.zeros(4, 4, 1), r"\(4, 4, 1\).*permute"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.bool), r"torch\.bool.*mask\.float\(\)"),
        (torch.full((1, 1, 4, 4), 255.0), "/ 255"),
        (torch.full((1, 1, 4, 4), float("nan")), "NaN"),
    ],
)
def test_a_wrong_mask_is_refused_with_what_was_found_and_a_remedy(mask, message):
    with pytest.raises(SinGANError, match=f"mask.*{message}"):
        check_mask(mask)


def test_a_mask_of_another_size_is_refused_with_the_call_that_resizes_it():
    mask = torch.zeros(1, 1, 4, 6)
    assert check_mask(mask, size=(4, 6)) is mask
    assert check_mask(mask, size=torch.Size([4, 6])) is mask
    with pytest.raises(SinGANError, match=r"\(4, 6\).*load_mask\(path, size=\(6, 4\)\)"):
        check_mask(mask, size=(6, 4))


# --- bundled samples ------------------------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(noise(6, 8)).save(folder / "mountains.jpg")
    Image.fromarray(noise(5, 7)).save(folder / "tree.png")
    Image.new("L", (7, 5), 255).save(folder / "tree_mask.png")
    (folder / "ATTRIBUTION.md").write_text("who made them")
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path))
    return tmp_path


def test_samples_are_listed_without_masks_and_notes(samples):
    Image.new("L", (7, 5)).save(samples / "images" / "alone_mask.png")
    assert data_folder() == samples
    assert sample_names() == ["mountains", "tree"]


def test_pictures_of_ones_own_are_found_by_name_too_and_hide_no_bundled_one(samples):
    (samples / "own").mkdir()
    Image.fromarray(noise(9, 11)).save(samples / "own" / "my_cat.png")
    Image.fromarray(noise(9, 11)).save(samples / "own" / "tree.png")
    assert sample_names() == ["mountains", "my_cat", "tree"]
    assert_is_image(sample_image("my_cat"), 9, 11)
    assert_is_image(sample_image("tree"), 5, 7)


def test_hidden_files_are_no_samples(samples):
    for place in ("images", "own"):
        (samples / place).mkdir(exist_ok=True)
        (samples / place / "._tree.png").write_bytes(b"what macOS leaves beside tree.png in archives")
    assert sample_names() == ["mountains", "tree"]


def test_samples_with_a_mask_are_listed(samples):
    assert sample_names(with_mask=True) == ["tree"]


@pytest.mark.parametrize("name", [Path("tree"), None, 3])
def test_a_sample_is_asked_for_by_its_name(samples, name):
    with pytest.raises(SinGANError, match="by its name"):
        sample_image(name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_explained(tmp_path):
    path = written(tmp_path, encode(Image.fromarray(noise(2, 2)), "PNG"))
    path.chmod(0)
    with pytest.raises(SinGANError, match="may not read"):
        load_image(path)


def test_a_refused_permission_is_explained(tmp_path, monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, encode(Image.fromarray(noise(2, 2)), "PNG"))
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(SinGANError, match="may not read"):
        load_image(path)


def test_of_two_own_pictures_of_one_name_the_first_by_its_suffix_is_taken(samples):
    (samples / "own").mkdir()
    for suffix, width in ((".png", 11), (".jpg", 12), (".webp", 13)):
        Image.fromarray(noise(9, width)).save(samples / "own" / f"my_cat{suffix}")
    assert sample_image("my_cat").shape[-1] == 12


def test_pictures_of_ones_own_may_have_a_suffix_in_capitals(samples):
    (samples / "own").mkdir()
    Image.fromarray(noise(9, 11)).save(samples / "own" / "DSC_1.JPG")
    assert sample_names() == ["DSC_1", "mountains", "tree"]
    assert_is_image(sample_image("DSC_1"), 9, 11)


def test_a_name_may_have_mask_in_the_middle(samples):
    Image.fromarray(noise(9, 11)).save(samples / "images" / "the_masked_ball.png")
    assert_is_image(sample_image("the_masked_ball"), 9, 11)


def test_samples_load_by_name_whatever_their_suffix(samples):
    assert_is_image(sample_image("mountains"), 6, 8)
    np.testing.assert_array_equal(to_array(sample_image("tree")), noise(5, 7))
    assert torch.equal(sample_mask("tree"), torch.ones(1, 1, 5, 7))


@pytest.mark.parametrize("name", ["mountain", "Mountains", "muontains"])
def test_an_unknown_sample_is_answered_with_the_closest_and_all_names(samples, name):
    with pytest.raises(SinGANError, match=r"mean 'mountains'.*mountains, tree"):
        sample_image(name)


@pytest.mark.parametrize("name", ["", "zzz", "../images/tree", "tree.png", "tree_mask"])
def test_only_the_names_themselves_are_known(samples, name):
    with pytest.raises(SinGANError, match="Known: mountains, tree"):
        sample_image(name)


def test_a_picture_without_a_mask_is_answered_with_those_that_have_one(samples):
    with pytest.raises(SinGANError, match=r"'mountains'\. Known: tree\."):
        sample_mask("mountains")


def test_a_missing_data_folder_is_answered_with_the_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SinGANError, match=r"SINGAN_DATA points to .*nowhere"):
        sample_names()
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path))
    with pytest.raises(SinGANError, match="set SINGAN_DATA"):
        sample_image("mountains")


def test_without_the_variable_the_data_beside_the_package_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SINGAN_DATA", "")
    monkeypatch.setattr(images, "__file__", str(tmp_path / "singan_core" / "images.py"))
    with pytest.raises(SinGANError, match="set SINGAN_DATA"):
        data_folder()
    (tmp_path / "data").mkdir()
    assert data_folder() == tmp_path / "data"


def test_the_bundled_samples_load(monkeypatch):
    monkeypatch.delenv("SINGAN_DATA", raising=False)
    if not (Path(images.__file__).parents[1] / "data" / "images").is_dir():
        pytest.skip("a package installed without its checkout has no data beside it")
    assert "mountains" in sample_names()
    sizes = {name: check_image(sample_image(name)).shape[2:] for name in sample_names()}
    for file in (data_folder() / "images").glob("*_mask.png"):
        name = file.stem.removesuffix("_mask")
        check_mask(sample_mask(name), size=sizes[name])


def test_the_box_around_a_mask_holds_all_that_is_set_and_no_more():
    mask = torch.zeros(1, 1, 9, 12)
    mask[..., 2, 5] = mask[..., 6, 3] = 0.1
    assert bounding_box(mask) == (slice(2, 7), slice(3, 6))
    assert bounding_box(torch.ones(1, 1, 9, 12)) == (slice(0, 9), slice(0, 12))


def test_an_empty_mask_has_no_box():
    with pytest.raises(SinGANError, match="empty"):
        bounding_box(torch.zeros(1, 1, 9, 12))
