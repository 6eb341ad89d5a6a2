"""The boundary where foreign bytes become our objects: one file a format, one error for whatever is wrong with them."""

from descentlab.formats.base import DataError, decoding, read_bytes
from descentlab.formats.json_fields import Fields, json_object, read_json

__all__ = ["DataError", "Fields", "decoding", "json_object", "read_bytes", "read_json"]
