"""Rebuild data/images: the photographs from their sources, then the drawings and the composites.

The photographs come from Debian's packages lomiri-wallpapers-16.04 and lomiri-wallpapers-20.04 (unpacked, for
instance with `dpkg-deb -x`), from the folder `sklearn/datasets/images` of scikit-learn, and from the installed
scikit-image. Each is cropped to the part that suits SinGAN and reduced. ATTRIBUTION.md names authors and licences.

    python data/make_images.py --wallpapers DIR [DIR] --sklearn-images DIR
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import skimage
from image_files import DATA, IMAGES, save_photo, write_checksums
from make_composites import make_composites
from make_drawings import make_drawings
from PIL import Image, ImageCms


@dataclass(frozen=True)
class Photo:
    """One photograph: where it comes from, which part of it is used, and how large it becomes.

    `crop` is (left, top, right, bottom) as fractions of the width and height. `longer_side` is the longer side of the
    result in pixels; a smaller photograph is never enlarged.
    """

    name: str
    source: str
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    longer_side: int = 640


PHOTOS = (
    # Three in which small detail carries the picture stay at 1024 px, for the high-resolution experiments.
    Photo("mountains", "aitzgorri_by_Aitzol_Berasategi.jpg", (0.0, 0.05, 0.93, 0.92), 1024),
    Photo("peaks", "picosdeeuropa_by_Aitzol_Berasategi.jpg", (0.33, 0.07, 1.0, 0.68), 1024),
    Photo("creek", "life_by_Aitzol_Berasategi.jpg", longer_side=1024),
    Photo("dandelions", "seeding_by_Clements_Engelhardt.jpg", longer_side=768),
    Photo("sunset", "sunset_by_Aitzol_Berasategi.jpg", (0.06, 0.16, 0.625, 0.86)),
    Photo("bridge", "Bridge_by_Sander_Klootwijk.jpg", (0.30, 0.28, 1.0, 1.0)),
    Photo("leaves", "Dragonfly_by_Bolly.jpg", (0.0, 0.05, 1.0, 1.0)),
    Photo("brushes", "Picture_1A_by_freespace.jpg", (0.0, 0.0, 0.78, 0.90)),
    Photo("nuthatch", "Kleiber_by_Lukas_Baubkus.jpg", (0.10, 0.14, 0.60, 0.86)),
    Photo("pagoda", "china.jpg"),
    Photo("dahlia", "flower.jpg"),
    Photo("cat", "chelsea.png"),
    Photo("rocket", "rocket.jpg"),
    Photo("galaxies", "hubble_deep_field.jpg"),
    Photo("bricks", "brick.png"),
    Photo("gravel", "gravel.png"),
)


def find_source(name: str, folders: Sequence[Path]) -> Path:
    """Return the first file called `name` in the folders or below them."""
    for folder in folders:
        for path in sorted(folder.rglob(name)):
            return path
    raise FileNotFoundError(f"{name} is in none of: {', '.join(map(str, folders))}.")


def to_srgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB in the sRGB colour space, whatever its own colour profile."""
    profile = image.info.get("icc_profile")
    if image.mode != "RGB" or profile is None:
        return image.convert("RGB")
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if ImageCms.getProfileDescription(own).startswith("sRGB"):
        return image
    return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))


def crop_and_reduce(image: Image.Image, photo: Photo) -> Image.Image:
    """Cut out the part given by `photo.crop`, and reduce it to `photo.longer_side` where it is larger."""
    width, height = image.size
    left, top, right, bottom = photo.crop
    part = image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
    factor = photo.longer_side / max(part.size)
    if factor >= 1:
        return part
    return part.resize((round(part.width * factor), round(part.height * factor)), Image.Resampling.LANCZOS)


def make_photos(sources: Sequence[Path], output: Path) -> None:
    """Write every photograph to the folder `output` as <name>.jpg."""
    for photo in PHOTOS:
        with Image.open(find_source(photo.source, sources)) as image:
            save_photo(crop_and_reduce(to_srgb(image), photo), output / f"{photo.name}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wallpapers", type=Path, nargs="+", required=True, help="unpacked lomiri-wallpapers packages")
    parser.add_argument("--sklearn-images", type=Path, required=True, help="scikit-learn's folder datasets/images")
    arguments = parser.parse_args()
    skimage_data = Path(skimage.__file__).parent / "data"
    IMAGES.mkdir(exist_ok=True)
    make_photos([*arguments.wallpapers, arguments.sklearn_images, skimage_data], IMAGES)
    make_drawings(IMAGES)
    make_composites(IMAGES, IMAGES)
    write_checksums(IMAGES, DATA / "checksums.sha256")


if __name__ == "__main__":
    main()
