"""Reading images as the originals do, and what is wrong with those that cannot be read."""

import struct

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.PngImagePlugin import PngInfo

from descbench.errors import DataError
from descbench.features.images import load_image, read_size
from descbench.features.point_images import load_point_image


@pytest.fixture
def gradient():
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([x * 3, y * 4, (x + y)], -1).astype(np.uint8)


def test_small_image_is_not_enlarged(tmp_path, gradient):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", 1024).pixels, gradient)


def test_exif_rotation_is_ignored(tmp_path, gradient):
    image = Image.fromarray(gradient)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg", 1024).pixels.shape == (60, 80, 3)


@pytest.mark.parametrize("load", [load_image, load_point_image])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_where_that_is_wanted(tmp_path, gradient, load, orientation):
    """As Pillow turns them itself: pixels, grey ones, boxes, the way back, and the size of the head."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        path = tmp_path / name
        lossless = {"lossless": True} if name == "a.webp" else {}
        Image.fromarray(gradient).save(path, exif=exif, **lossless)
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
        stored = load(path, None)
        if name != "a.jpg":
            np.testing.assert_array_equal(stored.pixels, gradient)
        assert ("`exif_orientation: apply` turns them" in stored.note) == (orientation != 1)
        loaded = load(path, None, exif_orientation="apply")
        np.testing.assert_array_equal(loaded.pixels, upright)
        assert loaded.note == ""
        assert read_size(path, "apply") == upright.size
        assert read_size(path) == (80, 60)
        boxed = load(path, None, (10, 5, 40, 50), exif_orientation="apply")
        np.testing.assert_array_equal(boxed.pixels, upright.crop((10, 5, 40, 50)))
        assert boxed.offset == (10, 5)
        if loaded.grey is not None and name == "a.jpg":  # OpenCV turns as EXIF says, unless told not to
            np.testing.assert_array_equal(loaded.grey, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
def test_other_modes_become_rgb(tmp_path, gradient, mode):
    name = "a.tif" if mode == "CMYK" else "a.png"
    Image.fromarray(gradient).convert("L" if mode == "LA" else "RGB").convert(mode).save(tmp_path / name)
    pixels = load_image(tmp_path / name, 1024).pixels
    assert pixels.shape == (60, 80, 3)
    assert pixels.dtype == np.uint8


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 64 * 4).reshape(4, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = load_image(tmp_path / "a.png", 1024).pixels
    np.testing.assert_allclose(pixels[..., 0], values / 257.0, atol=0.51)


def test_resize_keeps_no_shape(tmp_path, gradient):
    """To the very height and width, larger or smaller, of the crop where there is one; the way back by each axis."""
    Image.fromarray(gradient).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png", 10, resize=(90, 40))
    expected = Image.fromarray(gradient).resize((40, 90), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(loaded.pixels, expected)
    np.testing.assert_allclose(loaded.to_original(np.array([[40, 90]])), [[80, 60]])
    cropped = load_image(tmp_path / "a.png", 10, (0, 0, 20, 30), resize=(60, 60))
    assert cropped.pixels.shape == (60, 60, 3)
    assert cropped.ratio == pytest.approx((1 / 3, 1 / 2))


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (7, 8, 9)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", 1024).pixels, [[[7, 8, 9]]])


def test_box_beyond_the_image_is_black_there(tmp_path, gradient):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png", 1024, (-10, 50, 20, 70))
    assert loaded.pixels.shape == (20, 30, 3)
    assert (loaded.pixels[:, :10] == 0).all()
    assert (loaded.pixels[10:] == 0).all()
    np.testing.assert_array_equal(loaded.pixels[:10, 10:], gradient[50:60, :20])


def test_crop_is_shrunk_by_the_factor_of_the_whole_image(tmp_path):
    Image.new("RGB", (400, 200)).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png", 100, (100, 40, 300, 140))
    assert loaded.pixels.shape == (25, 50, 3)
    corners = loaded.to_original(np.array([[0.0, 0.0], [50.0, 25.0]]))
    np.testing.assert_allclose(corners, [[100, 40], [300, 140]])


def test_box_without_area(tmp_path, gradient):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="has no area"):
        load_image(tmp_path / "a.png", 100, (10, 10, 10.2, 30))


TRUNCATED = {
    "a.jpg": {},
    "b.jpg": {"progressive": True},
    "c.png": {},
    "d.webp": {},
    "e.tif": {},
    "f.tif": {"compression": "tiff_lzw"},
    "g.gif": {},
    "h.bmp": {},
    "i.ppm": {},
}


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused(tmp_path, name, kept):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / name, **TRUNCATED[name])
    load_image(tmp_path / name, 1024)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=name):
        load_image(tmp_path / name, 1024)


def test_truncated_jpeg_is_read_as_far_as_it_goes_when_asked(tmp_path, monkeypatch):
    """Whatever the process has set elsewhere, and without leaving a trace of it."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    whole = load_image(tmp_path / "a.jpg", 1024).pixels
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    for switch in (False, True):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
        pixels = load_image(tmp_path / "a.jpg", 1024, truncated_images="read").pixels
        np.testing.assert_array_equal(pixels[:8], whole[:8])
        assert np.ptp(pixels[-1]) == 0
        with pytest.raises(DataError, match="truncated_images: read"):
            load_image(tmp_path / "a.jpg", 1024)
        assert ImageFile.LOAD_TRUNCATED_IMAGES is switch


# Values as stored, and what they are as fractions of the range that they belong to.
RAMP = np.linspace(0, 1, 256).reshape(4, 64)
DEEP = {
    "unit floats": (RAMP.astype(np.float32), "0..1 is"),
    "byte floats": ((RAMP * 255).astype(np.float32), "0..255"),
    "word floats": ((RAMP * 65535).astype(np.float32), "0..65535"),
    "signed floats": ((RAMP * 8 - 3).astype(np.float32), "own range"),
    "words": ((RAMP * 65535).astype(np.uint16), "0..65535"),
    "words in int32": ((RAMP * 65535).astype(np.int32), "0..65535"),
    "int32": ((RAMP * (2**31 - 1)).astype(np.int32), "own range"),
}


# PNG holds whole numbers of 16 bits at most.
@pytest.mark.parametrize(("suffix", "name"), [*(("tif", name) for name in DEEP), ("png", "words")])
def test_deep_grey_is_scaled_and_said(tmp_path, name, suffix):
    values, said = DEEP[name]
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}", 1024)
    np.testing.assert_allclose(loaded.pixels, np.repeat(RAMP[..., None] * 255, 3, 2), atol=0.51)
    assert said in loaded.note
    clipped = load_image(tmp_path / f"a.{suffix}", 1024, deep_images="clip")
    np.testing.assert_array_equal(clipped.pixels[..., 0], np.clip(values, 0, 255).astype(np.uint8))
    assert "clipped" in clipped.note


def test_big_endian_and_unsigned_words(tmp_path):
    words = (RAMP * 65535).astype(">u2")
    Image.frombytes("I;16B", (64, 4), words.tobytes()).save(tmp_path / "a.tif")
    np.testing.assert_allclose(load_image(tmp_path / "a.tif", 1024).pixels[..., 0], RAMP * 255, atol=0.51)
    values = (RAMP * (2**32 - 1)).astype(np.uint32)
    Image.frombytes("I", (64, 4), values.tobytes()).save(tmp_path / "b.tif")
    # Pillow writes signed values only: the tag of the sample format is set to unsigned by hand.
    signed, unsigned = (struct.pack("<HHII", 339, 3, 1, sign) for sign in (2, 1))
    content = (tmp_path / "b.tif").read_bytes()
    assert content.count(signed) == 1
    (tmp_path / "b.tif").write_bytes(content.replace(signed, unsigned))
    np.testing.assert_allclose(load_image(tmp_path / "b.tif", 1024).pixels[..., 0], RAMP * 255, atol=0.51)


def test_constant_deep_image_and_values_that_are_not_finite(tmp_path):
    Image.fromarray(np.full((4, 4), 1e6, np.float32)).save(tmp_path / "a.tif")
    assert not load_image(tmp_path / "a.tif", 64).pixels.any()
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"b\.tif.*NaN"):
        load_image(tmp_path / "b.tif", 64)


def test_first_of_several_frames(tmp_path, gradient):
    frames = [Image.fromarray(gradient), Image.new("RGB", (80, 60))]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    loaded = load_image(tmp_path / "a.tif", 1024)
    np.testing.assert_array_equal(loaded.pixels, gradient)
    assert "first" in loaded.note
    assert load_image(tmp_path / "a.tif", 1024).note == loaded.note


def test_photographs_that_are_to_be_turned(tmp_path, gradient):
    """As the originals read them, and their user is told."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(gradient).save(tmp_path / "a.png", exif=exif)
    loaded = load_image(tmp_path / "a.png", 1024)
    np.testing.assert_array_equal(loaded.pixels, gradient)
    assert "`exif_orientation: apply` turns them" in loaded.note
    # What EXIF should not say, and damaged EXIF, say nothing, and harm no image.
    exif[ExifTags.Base.Orientation] = 0
    Image.fromarray(gradient).save(tmp_path / "b.png", exif=exif)
    damaged = PngInfo()
    damaged.add_text("Raw profile type exif", "\nexif\n 4\nno hexadecimal\n")
    Image.fromarray(gradient).save(tmp_path / "c.png", pnginfo=damaged)
    for name in ("b.png", "c.png"):
        assert load_image(tmp_path / name, 1024).note == ""


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0, 0, 1e6, 1e6), "reaches more than"),
        ((-1e9, 0, 10, 10), "reaches more than"),
        ((0, 0, 1e300, 10), "reaches more than"),
        ((80, 0, 90, 10), "does not touch"),
        ((-20, -20, 0, 0), "does not touch"),
        ((float("nan"), 0, 5, 5), "in numbers"),
    ],
)
def test_crops_that_are_no_crop_take_no_memory(tmp_path, gradient, box, reason, monkeypatch):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "crop", lambda *_: pytest.fail("cropped"))
    with pytest.raises(DataError, match=reason) as caught:
        load_image(tmp_path / "a.png", 1024, box)
    assert "a.png" in str(caught.value)


def test_bombs_are_refused_by_their_header(tmp_path, monkeypatch):
    header = b"P5 60000 60000 255\n"
    (tmp_path / "a.pgm").write_bytes(header + bytes(64))
    with pytest.raises(DataError, match=r"a\.pgm.*reduce the image"):
        load_image(tmp_path / "a.pgm", 1024)


def test_long_thin_image(tmp_path):
    Image.new("L", (30000, 1), 9).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", 1024).pixels.shape == (1, 1024, 3)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "0 bytes"), (b"<html>not found</html>", "not an image PIL can read")]
)
def test_files_that_are_no_image(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        load_image(tmp_path / "a.jpg", 1024)
    assert "a.jpg" in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match="no such image"):
        load_image(tmp_path / "nowhere.jpg", 1024)
