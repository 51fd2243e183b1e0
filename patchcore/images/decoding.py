"""Images as arrays. An image that cannot be read without loss is refused."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from patchcore.errors import InvalidPath, UnreadableImage

# Only these decoders run: some of Pillow's others start programs (EPS runs Ghostscript).
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
# Pillow clips 16-bit and float pixels when it converts them, so these modes would lose content without an error.
_MODES = frozenset({"1", "L", "P", "RGB", "RGBA"})
_RESIZED_AS_THEY_ARE = frozenset({"L", "RGB"})  # a palette's numbers cannot be averaged
_LARGEST = 89_478_485  # pixels: a quarter of a gigabyte once decoded; beyond is taken for a decompression bomb
_LARGEST_FILE = 2**29  # bytes: more than that many pixels need uncompressed; a larger file is not read


class FileTooLarge(UnreadableImage):
    """A file that is larger than any supported image; it is not read into memory."""


def list_images(folder: Path) -> list[Path]:
    """Return every visible file below a folder, whatever its suffix, ordered by posix path.

    Validation decides whether a file is an image, so files that are not images are listed too, and so are broken
    links. A folder that does not exist has no files; ``folder`` itself may be a link.

    Raises:
        InvalidPath: Below the folder is a link to a folder, a pipe, a socket or a device, or a folder that cannot be
            listed.
    """
    if not folder.is_dir():
        return []
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [name for name in names if not name.startswith(".")]
        for name in (*folders, *files):
            _require_plain(Path(parent, name))
        found += (Path(parent, name) for name in files)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def load_rgb(path: Path, side: int) -> NDArray[np.uint8]:
    """Return an image as a square, resized by Pillow's bilinear filter.

    Args:
        path: An image file.
        side: Pixels of the square; the aspect ratio is not kept.

    Returns:
        (side, side, 3) uint8, red, green, blue, 0 to 255.

    Raises:
        UnreadableImage: The file is missing, truncated, not an image, or of an unsupported kind.
    """
    return rgb_of_bytes(read_content(path), side, str(path))


def rgb_of_bytes(content: bytes, side: int | None, name: str) -> NDArray[np.uint8]:
    """Return an image in memory as a square; see `load_rgb`.

    Args:
        content: The bytes of an image file.
        side: Pixels of the square; None keeps the size (H, W) of the image.
        name: What error messages call the image.

    Returns:
        (side, side, 3) or (H, W, 3) uint8, red, green, blue, 0 to 255.

    Raises:
        UnreadableImage: The bytes are not a whole image of a supported kind.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> png = io.BytesIO()
        >>> Image.new("L", (4, 2), 200).save(png, "PNG")
        >>> rgb_of_bytes(png.getvalue(), 3, "grey.png").shape, rgb_of_bytes(png.getvalue(), None, "grey.png").shape
        ((3, 3, 3), (2, 4, 3))
    """
    image = decode(content, name)
    if side is None:
        return np.asarray(image.convert("RGB"))
    # Each channel is resized by itself, so a grey image gives the same pixels if its one channel is resized.
    plain = image if image.mode in _RESIZED_AS_THEY_ARE else image.convert("RGB")
    return np.asarray(plain.resize((side, side), Image.Resampling.BILINEAR).convert("RGB"))


def to_square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a decoded image as the square that `load_rgb` returns.

    Args:
        image: (H, W, 3) uint8, red, green, blue, 0 to 255.
        side: Pixels of the square.

    Returns:
        (side, side, 3) uint8, red, green, blue, 0 to 255.

    Raises:
        ValueError: The shape or the dtype is wrong.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: got {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def load_known(path: Path, sha256: str, side: int | None) -> NDArray[np.uint8]:
    """Return the image with a given digest as a square; see `load_rgb`.

    Args:
        path: An image file.
        sha256: Of its bytes, 64 hexadecimal digits.
        side: Pixels of the square; None keeps the size (H, W) of the image.

    Returns:
        (side, side, 3) or (H, W, 3) uint8, red, green, blue, 0 to 255.

    Raises:
        UnreadableImage: The file has another digest, or cannot be read; see `load_rgb`.
    """
    content = read_content(path)
    if (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise UnreadableImage(
            f"{path} has changed",
            f"sha256 {actual}",
            f"sha256 {sha256}",
            "run it again when no program writes the file",
        )
    return rgb_of_bytes(content, side, str(path))


def load_mask(path: Path, side: int) -> NDArray[np.bool_]:
    """Return a defect mask as a square, resized by nearest neighbour.

    Args:
        path: An image file.
        side: Pixels of the square.

    Returns:
        (side, side) bool, True (defect) where any channel is above 0.

    Raises:
        UnreadableImage: The file is missing, truncated, not an image, or of an unsupported kind.
    """
    # RGB, not grey: the grey level of a dark blue label is rounded to 0.
    mask = decode(read_content(path), str(path)).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    marked: NDArray[np.bool_] = np.not_equal(np.asarray(mask), 0).any(axis=2)
    return marked


def _refuse_unlisted(error: OSError) -> None:
    raise InvalidPath(
        f"{error.filename} cannot be listed",
        got=error.strerror or str(error),
        expected="a folder that can be read",
        remedy="check its access rights",
    ) from error


def _require_plain(path: Path) -> None:
    if path.is_dir() and path.is_symlink():
        # DVC does not track the target of such a link, so its files would be in no data-set version.
        got, remedy = "a link to a folder", "put a copy of that folder in its place, or remove the link"
    elif path.exists() and not path.is_file() and not path.is_dir():
        # Reading a pipe without a writer never returns.
        got, remedy = "a pipe, a socket or a device", "remove it"
    else:
        return
    raise InvalidPath(f"{path} cannot be taken", got=got, expected="files, links to files, and folders", remedy=remedy)


def read_content(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        FileTooLarge: The file is larger than any supported image.
        UnreadableImage: The file cannot be read.
    """
    try:
        if (size := path.stat().st_size) > _LARGEST_FILE:
            raise FileTooLarge(
                f"{path} is not a usable image",
                got=f"{size} bytes",
                expected=f"at most {_LARGEST_FILE} bytes",
                remedy="replace or remove the file",
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(
            f"{path} cannot be read",
            got=error.strerror or str(error),
            expected="an image file",
            remedy="check that it exists and can be read",
        ) from error


def decode(content: bytes, name: str) -> Image.Image:
    """Return an image in memory, decoded whole.

    Args:
        content: The bytes of an image file.
        name: What error messages call the image.

    Raises:
        UnreadableImage: The bytes are not a whole image of a supported kind.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        _check_kind(image, name)
        image.load()
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:  # damaged bytes make Pillow's decoders raise errors of many kinds
        raise _unreadable(name, *_words(error, content)) from error
    return image


def _check_kind(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > _LARGEST:
        raise _unreadable(name, f"{width}x{height} pixels", f"at most {_LARGEST} pixels")
    if image.mode not in _MODES:
        kinds = ", ".join(sorted(_MODES))
        raise _unreadable(name, f"pixels of mode {image.mode}", f"one of {kinds}: save it with 8 bits a channel")
    # A JPEG of format MPO has previews behind the image; each page of a TIFF is an image of its own.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise _unreadable(name, "several images in one file", "one image per file")


def _words(error: Exception, content: bytes) -> tuple[str, str]:
    expected = "a whole BMP, JPEG, PNG or TIFF image"
    if not content:
        return "an empty file", expected
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than fit in memory", f"at most {_LARGEST} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "a file that is not an image", expected
    return f"a damaged image ({error or type(error).__name__})", expected


def _unreadable(name: str, got: str, expected: str) -> UnreadableImage:
    return UnreadableImage(
        f"{name} is not a usable image", got=got, expected=expected, remedy="replace or remove the file"
    )
