"""The boundary where foreign bytes become our objects: one file a format, one error for whatever is wrong with them."""

from descentlab.formats.archives import is_tar, read_files, read_tar
from descentlab.formats.base import DataError, decoding, read_bytes
from descentlab.formats.idx import read_idx
from descentlab.formats.json_files import json_object, read_json, read_json_lines
from descentlab.formats.numpy_files import finite, read_npy, read_npz
from descentlab.formats.packed import unpacked
from descentlab.formats.tables import read_table

__all__ = [
    "DataError",
    "decoding",
    "finite",
    "is_tar",
    "json_object",
    "read_bytes",
    "read_files",
    "read_idx",
    "read_json",
    "read_json_lines",
    "read_npy",
    "read_npz",
    "read_table",
    "read_tar",
    "unpacked",
]
