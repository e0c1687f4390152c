"""Files that are, or seem, no images; and what training says of them.

    python tests/bad_files.py

makes each of them in a folder of good images, runs ``training.fit`` on it and prints
the exit status and what was printed.
"""

import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bombs
import numpy as np
from data import encode, noise, write_classes
from PIL import Image
from test_orientation import tag, with_exif

JPEG = encode(noise(120, 90, 3), "JPEG")
PNG = encode(noise(40, 40, 3), "PNG")


@dataclass(frozen=True)
class Case:
    """A file, or a change to a folder of the classes a and b.

    Attributes:
        name: Of the file.
        make: Its contents, or what makes it.
        said: Part of what is said of it; None: it is read like any other.
    """

    name: str
    make: bytes | Callable[[Path], object]
    said: str | None = None


def _crc_error(data: bytes, chunk: bytes) -> bytes:
    """A PNG with a bit of a chunk's checksum wrong."""
    start = data.index(chunk)
    length = struct.unpack(">I", data[start - 4 : start])[0]
    end = start + 4 + length
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def _damaged(data: bytes) -> bytes:
    """A file with a kilobyte of zeros in its middle."""
    middle = len(data) // 2
    return data[: middle - 512] + bytes(1024) + data[middle + 512 :]


def _deep() -> bytes:
    return encode(noise(9, 9, 2).view(np.uint16)[..., 0], "PNG")


def _deep_bmp() -> bytes:
    data = bytearray(encode(noise(9, 9, 3), "BMP"))
    data[28] = 16
    return bytes(data)


def _animation(kind: str) -> bytes:
    file = io.BytesIO()
    first, second = (Image.fromarray(noise(9, 9, 3, seed=i)) for i in range(2))
    first.save(file, kind, save_all=True, append_images=[second])
    return file.getvalue()


MORE = "more than the 50000000 pixels of --max-pixels"
TRUNCATED = "image file is truncated"
CASES = {
    "bomb, PNG": Case(
        "bomb.png", lambda path: path.write_bytes(bombs.png()), f"20000×20000, {MORE}"
    ),
    "bomb, GIF": Case(
        "bomb.gif", lambda path: path.write_bytes(bombs.gif()), f"20000×20000, {MORE}"
    ),
    "bomb, JPEG header": Case(
        "bomb.jpg", bombs.patched("JPEG", 60000, 60000), f"60000×60000, {MORE}"
    ),
    "bomb, BMP header": Case(
        "bomb.bmp", bombs.patched("BMP", 30000, 30000), f"30000×30000, {MORE}"
    ),
    "truncated JPEG": Case("cut.jpg", JPEG[:-300], TRUNCATED),
    "truncated PNG": Case("cut.png", PNG[: len(PNG) // 2], TRUNCATED),
    "PNG, CRC error in the header": Case(
        "header.png", _crc_error(PNG, b"IHDR"), "not an image file"
    ),
    "PNG, CRC error in the pixels": Case(
        "crc.png", _crc_error(PNG, b"IDAT"), "Invalid PNG data"
    ),
    "PNG, damaged pixels": Case("damaged.png", _damaged(PNG), "broken data stream"),
    "JPEG, damaged pixels": Case("damaged.jpg", _damaged(JPEG), None),
    "zero bytes": Case("zero.jpg", b"", "not an image file"),
    "HTML named .jpg": Case(
        "page.jpg", b"<html>404 not found</html>", "not an image file"
    ),
    "text": Case("notes.txt", b"no image at all", "not an image file"),
    "TIFF": Case("scan.tif", encode(noise(4, 4, 3), "TIFF"), "a TIFF file"),
    "animated WebP": Case(
        "moving.webp", _animation("WEBP"), "WebP must not be animated"
    ),
    "BMP of 16 bits": Case("deep.bmp", _deep_bmp(), "BMP must be an uncompressed"),
    "BMP of two colours": Case("bits.bmp", encode(noise(9, 9, 3), "BMP", "1")),
    "BMP with a palette": Case("palette.bmp", encode(noise(9, 9, 3), "BMP", "P")),
    "16-bit PNG": Case("deep.png", _deep()),
    "CMYK JPEG": Case("cmyk.jpg", encode(noise(9, 9, 3), "JPEG", "CMYK")),
    "PNG with alpha": Case("alpha.png", encode(noise(9, 9, 3), "PNG", "RGBA")),
    "animated GIF": Case("moving.gif", _animation("GIF")),
    "GIF of many frames": Case("frames.gif", bombs.gif(200, 1500)),
    "MPO, as phones write": Case("phone.jpg", _animation("MPO")),
    "JPEG with rotated EXIF": Case("turned.jpg", with_exif(tag(6))),
    "link to itself": Case(
        "loop.jpg", lambda path: path.symlink_to(path), "Too many levels of symbolic"
    ),
    "link to nowhere": Case(
        "gone.jpg", lambda path: path.symlink_to("nowhere"), "No such file"
    ),
    "name that is not UTF-8": Case(
        os.fsdecode(b"\xff.jpg"), JPEG, "the file name is not UTF-8"
    ),
    "named pipe": Case("pipe.jpg", os.mkfifo, "not a regular file"),
    "folder named .jpg": Case("folder.jpg", lambda path: path.mkdir()),
    "link to the folder around it": Case(
        "around", lambda path: path.symlink_to(path.parent.parent)
    ),
}

# Imports first: where Python is installed, another user may not look.
AS_NOBODY = """
import os
from keras_resnet import command
command.load_backend("tensorflow")
from training import fit
from training.experiment import config, experiment
os.setgroups([]), os.setgid(65534), os.setuid(65534)
command.run(fit.main)
"""


def make(case: Case, path: Path) -> None:
    """Makes the file of a case."""
    if isinstance(case.make, bytes):
        path.write_bytes(case.make)
    else:
        case.make(path)


def _shown(folder: Path, title: str, *options: str, nobody: bool = False) -> None:
    """Runs a short training on a folder and prints what it printed."""
    out = folder.parent / "run"
    program = ["-c", AS_NOBODY] if nobody else ["-m", "training.fit"]
    line = [sys.executable, *program, "--dataset", f"folder:{folder}"]
    line += ["--out", str(out), "--epochs", "1", "--image-size", "8", "--overrides"]
    line += ["depths=(1,1,1)", *options]
    # TensorFlow, imported here, has set how much it prints.
    clean = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=clean)
    shutil.rmtree(out, ignore_errors=True)
    said = done.stderr.strip() if done.returncode else _notes(done.stdout)
    said = said.replace(str(folder), "DIR")
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    print(f"{title}: exit {done.returncode}\n    {said}", flush=True)


def _notes(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines()]
    return "\n    ".join(s for s in lines if "skipped" in s or s.startswith("test: "))


def main() -> None:
    """Shows each bad file, all of them skipped, and all odd ones that are read."""
    bad = {title: case for title, case in CASES.items() if case.said}
    odd = [case for title, case in CASES.items() if title not in bad]
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        folder = Path(name, "photos")
        write_classes(folder, count=5)
        for title, case in bad.items():
            make(case, folder / "b" / case.name)
            _shown(folder, title)
            (folder / "b" / case.name).unlink()
        for case in bad.values():
            make(case, folder / "b" / case.name)
        _shown(folder, "all of them, --skip-bad-images", "--skip-bad-images")
        for case in bad.values():
            (folder / "b" / case.name).unlink()
        for case in odd:
            make(case, folder / "b" / case.name)
        _shown(folder, ", ".join(case.name for case in odd))
        (folder / "c").symlink_to(folder)
        _shown(folder, "class folder that is a link to the folder of classes")
        (folder / "c").unlink()
        (folder / "b").chmod(0)
        _shown(folder, "class folder without read permission", nobody=True)
        (folder / "b").chmod(0o755)


if __name__ == "__main__":
    main()
