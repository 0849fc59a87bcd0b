"""Reading images as the originals do, and what is wrong with those that cannot be read."""

import numpy as np
import pytest
from PIL import Image

from descbench.errors import DataError
from descbench.features.images import load_image


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


def test_truncated_jpeg_is_read_as_far_as_it_goes(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    assert load_image(tmp_path / "a.jpg", 1024).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "0 bytes"), (b"<html>not found</html>", "no image PIL can read")]
)
def test_files_that_are_no_image(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        load_image(tmp_path / "a.jpg", 1024)
    assert "a.jpg" in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match="no such image"):
        load_image(tmp_path / "nowhere.jpg", 1024)
