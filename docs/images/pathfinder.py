"""Draw the sheet of Pathfinder images: joined dots above, dots of two paths below."""

import struct
import sys
import zlib

import numpy as np

from descentlab.datasets import Pathfinder

COLUMNS, ROWS, SCALE, GAP = 6, 2, 5, 6


def sheet() -> np.ndarray:
    """Grey levels; the images of a pair, one of each class, stand above each other."""
    dataset = Pathfinder(train=2 * COLUMNS * ROWS, development=0, test=0)
    tokens = dataset.load().train.inputs
    images = (tokens - 1).astype(np.uint8).reshape(-1, dataset.side, dataset.side)
    step = SCALE * dataset.side + GAP
    page = np.full((2 * ROWS * step - GAP, COLUMNS * step - GAP), 110, dtype=np.uint8)
    for i, image in enumerate(images):
        row, column = 2 * (i // 2 // COLUMNS) + i % 2, i // 2 % COLUMNS
        large = image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        page[row * step : row * step + len(large), column * step : column * step + len(large)] = large
    return page


def png(grey: np.ndarray) -> bytes:
    """A grey image as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = grey.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = np.pad(grey, ((0, 0), (1, 0))).tobytes()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(png(sheet()))
