"""What a file is that was expected to be something else, in words for a message."""

from __future__ import annotations

from pathlib import Path

from descbench.io.webpages import looks_like_html

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ": "an xz file: unpack it first",
    b"7z\xbc\xaf": "a 7-zip archive: unpack it first",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a MATLAB file",
    b"\x93NUMPY": "a numpy file (.npy)",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
}
_HEAD = 1024


def describe_kind(path: Path) -> str | None:
    """What a file evidently is, after "it is ..."; None where its first bytes do not tell."""
    if path.is_dir():
        return "a folder"
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        return "empty"
    if head.startswith(_LFS_POINTER):
        return (
            "a git-lfs pointer, which stands for the file in a repository: run `git lfs pull` there and copy the file"
        )
    if looks_like_html(head, "text/html"):
        return "a web page, as servers send in place of a file that has moved or needs a login"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if head[8:10] == b'{"' and not any(head[4:8]):
        return "a safetensors file"
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    return "a text file" if _is_text(head) else None


def shorten(text: object, most: int = 200) -> str:
    """The first line of a text of unknown origin, printable and of bounded length."""
    line = (str(text).splitlines() or [""])[0]
    line = "".join(c if c.isprintable() else "?" for c in line[: most + 1])
    return line if len(line) <= most else line[:most] + "..."


def why_unreadable(error: Exception) -> str:
    """Why an image was not decoded: what the system said of its file, or else the decoder of its bytes."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"damaged or cut short ({shorten(error)})"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(head) < _HEAD and all(c.isprintable() or c in "\r\n\t" for c in text)
