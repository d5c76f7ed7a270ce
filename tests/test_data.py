"""The pictures in data/images: intact, attributed, in the agreed formats, and made by the scripts beside them."""

import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

DATA = Path(__file__).resolve().parents[1] / "data"
IMAGES = DATA / "images"
sys.path.insert(0, str(DATA))

import image_files  # noqa: E402
import make_composites  # noqa: E402
import make_drawings  # noqa: E402
import make_images  # noqa: E402

FILES = sorted(path.name for path in IMAGES.iterdir())
MASKS = [name for name in FILES if name.endswith("_mask.png")]
PICTURES = [name for name in FILES if name not in MASKS]
COMPOSITES = [name for name in PICTURES if name.startswith(("edit_", "harmonize_"))]
DERIVED = [name for name in FILES if name.startswith(("edit_", "harmonize_", "paint_", "sketch_"))]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def checksum_entries() -> list[tuple[str, str]]:
    lines = (DATA / "checksums.sha256").read_text(encoding="ascii").splitlines()
    return [tuple(line.split("  ")) for line in lines]


def test_checksums_cover_every_file_in_order():
    assert [name for _, name in checksum_entries()] == [f"images/{name}" for name in FILES]


def test_every_file_has_its_checksum():
    wrong = [name for digest, name in checksum_entries() if sha256(DATA / name) != digest]
    assert wrong == []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def attribution_rows() -> list[str]:
    return re.findall(r"^\| `[^`]+` \|.*$", (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_attribution_has_one_row_for_each_file():
    assert sorted(re.match(r"\| `([^`]+)`", row).group(1) for row in attribution_rows()) == FILES


def test_each_attribution_row_links_to_its_licence():
    unlicensed = [row for row in attribution_rows() if "https://creativecommons.org/" not in row]
    assert unlicensed == []


def test_each_source_photograph_is_named_in_its_attribution_row():
    rows = {re.match(r"\| `([^`]+)`", row).group(1): row for row in attribution_rows()}
    missing = [photo.name for photo in make_images.PHOTOS if f"`{photo.source}`" not in rows[f"{photo.name}.jpg"]]
    assert missing == []


def test_names_are_short_lowercase_and_unique():
    stems = [Path(name).stem for name in FILES]
    assert len(set(stems)) == len(stems)
    assert [stem for stem in stems if not re.fullmatch(r"[a-z][a-z_]{1,31}", stem)] == []


@pytest.mark.parametrize("name", FILES)
def test_no_side_is_longer_than_1024_pixels(name):
    with Image.open(IMAGES / name) as image:
        assert max(image.size) <= 1024


def test_three_photographs_are_large_enough_for_high_resolution():
    large = [name for name in PICTURES if name.endswith(".jpg") and max(pixels(IMAGES / name).shape) == 1024]
    assert len(large) >= 3


def test_there_are_at_least_twelve_photographs():
    assert len([name for name in PICTURES if name.endswith(".jpg")]) >= 12


def test_all_files_together_stay_under_six_megabytes():
    assert sum((IMAGES / name).stat().st_size for name in FILES) < 6_000_000


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_8_bit_rgb_without_metadata(name):
    with Image.open(IMAGES / name) as image:
        assert image.mode == "RGB"
        assert dict(image.getexif()) == {}
        assert not {"exif", "icc_profile", "comment", "transparency"} & image.info.keys()


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(".jpg")])
def test_photographs_keep_full_colour_resolution(name):
    with Image.open(IMAGES / name) as image:
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_gray_with_only_0_and_255(name):
    with Image.open(IMAGES / name) as image:
        assert image.mode == "L"
    assert set(np.unique(pixels(IMAGES / name))) == {0, 255}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_as_large_as_their_picture(name):
    picture = IMAGES / name.replace("_mask.png", ".png")
    assert pixels(IMAGES / name).shape == pixels(picture).shape[:2]


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_equal_their_base_outside_the_mask(name):
    base = pixels(make_composites.find_picture(IMAGES, Path(name).stem.split("_", 1)[1]))
    mask = pixels(IMAGES / name.replace(".png", "_mask.png")) > 0
    np.testing.assert_array_equal(pixels(IMAGES / name)[~mask], base[~mask])


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_differ_from_their_base_inside_the_mask(name):
    base = pixels(make_composites.find_picture(IMAGES, Path(name).stem.split("_", 1)[1]))
    mask = pixels(IMAGES / name.replace(".png", "_mask.png")) > 0
    changed = (pixels(IMAGES / name) != base).any(axis=-1)
    # A pasted pixel may by chance equal the one below it, for instance sky on sky; most do not.
    assert changed[mask].mean() > 0.9


@pytest.mark.parametrize("name", [name for name in DERIVED if name.startswith(("paint_", "sketch_"))])
def test_paints_and_sketches_are_as_large_as_their_base(name):
    base = make_composites.find_picture(IMAGES, Path(name).stem.split("_", 1)[1])
    assert pixels(IMAGES / name).shape == pixels(base).shape


def test_clip_art_has_few_flat_colours():
    colours = np.unique(pixels(IMAGES / "paint_mountains.png").reshape(-1, 3), axis=0)
    assert len(colours) <= 16


@pytest.mark.parametrize("name", [name for name in DERIVED if name.startswith("sketch_")])
def test_sketches_are_dark_lines_on_white(name):
    sketch = pixels(IMAGES / name)
    assert (sketch == sketch[..., :1]).all()
    assert np.median(sketch) == 255
    assert sketch.min() < 64


def test_composites_script_rebuilds_the_same_pixels(tmp_path):
    make_composites.make_composites(IMAGES, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == DERIVED
    for name in DERIVED:
        np.testing.assert_array_equal(pixels(tmp_path / name), pixels(IMAGES / name), err_msg=name)


# The painted lake takes half a minute to draw; its checksum has to do.
@pytest.mark.parametrize("name", ["drawn_hills", "drawn_pebbles"])
def test_drawings_script_rebuilds_the_same_pixels_and_masks(name):
    picture, mask = make_drawings.DRAWINGS[name]()
    np.testing.assert_array_equal(picture, pixels(IMAGES / f"{name}.png"))
    np.testing.assert_array_equal(mask, pixels(IMAGES / f"{name}_mask.png") > 0)


@given(
    size=st.tuples(st.integers(32, 200), st.integers(32, 200)),
    crop=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.6, 1), st.floats(0.6, 1)),
    longer_side=st.integers(32, 200),
)
@settings(deadline=None, max_examples=40)
def test_photographs_are_reduced_but_never_enlarged(size, crop, longer_side):
    photo = make_images.Photo("any", "any.jpg", crop, longer_side)
    result = make_images.crop_and_reduce(Image.new("RGB", size), photo)
    width = round(crop[2] * size[0]) - round(crop[0] * size[0])
    height = round(crop[3] * size[1]) - round(crop[1] * size[1])
    assert max(result.size) == min(longer_side, max(width, height))


def test_missing_source_photograph_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"china\.jpg"):
        make_images.find_source("china.jpg", [tmp_path])


def test_pictures_over_1024_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1024"):
        image_files.save_png(np.zeros((4, 1025, 3), dtype=np.uint8), tmp_path / "wide.png")
