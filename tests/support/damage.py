"""Ways to damage a file: those that fit any bytes, and those that a format has of its own.

Each takes a source of random numbers and the bytes of a file, and gives other bytes.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator
from random import Random

import numpy as np

_NUMBERS = [0, 1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]

_DIGITS = ["0", "-1", "1", "2", "99999999", "4294967296", "9223372036854775807", "-9223372036854775808", "1e999", "1.5"]
_DIGITS += ["1" + "0" * 25, "9" * 400, "9" * 5000, "²", "NaN", "True", "None", '"3"']

_VALUES = [None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, -(10**30), 1.5, 1e308, float("inf"), float("nan")]
_VALUES += ["", "12", "false", "\ud800", "\x1b[31m", "x" * 3000, [], [1], [None], [[[]]], {}, {"": {}}, {"class": 3}]
_VALUES += [{"class": ":"}, [10**9] * 3]


def flip(random: Random, data: bytes) -> bytes:
    """Some bits."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 8])):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: random.randrange(len(data) + 1)]


def remove(random: Random, data: bytes) -> bytes:
    """A part is missing."""
    begin = random.randrange(len(data) + 1)
    return data[:begin] + data[begin + random.choice([1, 2, 8, 100, 512]) :]


def insert(random: Random, data: bytes) -> bytes:
    """Something stands between."""
    place = random.randrange(len(data) + 1)
    piece = random.choice([random.randbytes(8), b"\0" * 512, b"(" * 300, b"\xff\xfe", b'"'])
    return data[:place] + piece + data[place:]


def repeat(random: Random, data: bytes) -> bytes:
    """A part stands there several times."""
    begin = random.randrange(len(data) + 1)
    part = data[begin : begin + random.choice([1, 16, 512, 2000])]
    return data[:begin] + part * random.choice([2, 3, 20]) + data[begin:]


def overwrite(random: Random, data: bytes) -> bytes:
    """A whole number of one to eight bytes stands somewhere."""
    size, number = random.choice([1, 2, 4, 8]), random.choice(_NUMBERS)
    place = random.randrange(max(1, len(data) - size + 1))
    order = random.choice(["little", "big"])
    return data[:place] + (number % 256**size).to_bytes(size, order) + data[place + size :]


def renumber(random: Random, data: bytes) -> bytes:
    """Another number stands in the place of digits."""
    found = list(re.finditer(rb"-?[0-9]+(?:\.[0-9]+)?", data))
    if not found:
        return insert(random, data)
    chosen = random.choice(found)
    return data[: chosen.start()] + random.choice(_DIGITS).encode() + data[chosen.end() :]


def noise(random: Random, data: bytes) -> bytes:
    """Random bytes after the first ones."""
    return data[: random.choice([0, 2, 8, 128, 512])] + random.randbytes(random.choice([0, 1, 64, 3000]))


ANY = (flip, flip, cut, remove, insert, repeat, overwrite, renumber, noise)


def npy(head: str, numbers: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """An `.npy` file with any head."""
    text = head.encode("latin-1", "replace") + b" " * (-(len(head) + 11) % 64) + b"\n"
    size = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text + numbers


def saved(array: np.ndarray) -> bytes:
    """An array as `numpy.save` writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def claimed(random: Random, data: bytes) -> bytes:
    """An array whose head claims anything."""
    number = random.choice(["0", "1", "3", "-1", "-3", "1099511627776", "1000000007", "9" * 30, "True", "1.0", "None"])
    shapes = [f"({number},)", f"({number}, {number})", f"(3, {number}, 4)", "()", f"[{number}]", "(" * 150]
    kinds = ["'<f8'", "'>f4'", "'<i2'", "'|b1'", "'<f16'", "'|O'", "'<m8[s]'", "'<U0'", "'|V0'", "'|S1000000000'"]
    kinds += ["'<c16'", "[('a', '<f8')]", "('<f8', (1000, 1000, 1000))", "'zz'", "17", "None", "'<f8' * 9", "{}"]
    kinds += ["-" * 5000 + "1", r"'\d'"]
    order, kind = random.choice(["True", "False", "None", "3"]), random.choice(kinds)
    head = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {random.choice(shapes)}, }}"
    return npy(head, random.randbytes(random.choice([0, 8, 480])), random.choice([(1, 0), (2, 0), (3, 0), (9, 9)]))


def another_type(random: Random, data: bytes) -> bytes:
    """A whole array of another type."""
    kind = random.choice([">f8", "<f2", "g", "m8[s]", "M8[s]", "U3", "S2", "?", "c8", "O", "i1", "u8", "V4", "f8,i4"])
    return saved(np.zeros(random.choice([(3, 5, 4), (3, 5), (0, 5, 4), (), (2, 4, 2)]), dtype=kind))


def zipped(random: Random, data: bytes) -> bytes:
    """A whole archive with anything in it, packed by any method."""
    buffer = io.BytesIO()
    method = random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    names = ["inputs.npy", "targets.npy"] if random.random() < 0.8 else []
    names += random.sample(["query.npy", "value.npy", "output.npy", "other.npy", "a"], random.choice([0, 0, 1, 2]))
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            fits = (3, 5, 4) if name == "inputs.npy" else random.choice([(3, 5), (3, 5, 1), (2, 4, 2), (3, 2)])
            shape = random.choice([fits, fits, fits, (0, 1), (), (3, 0), (4,)])
            bomb = method == zipfile.ZIP_DEFLATED and random.random() < 0.005
            whole = saved(np.ones((70_000_000,) if bomb else shape, "u1" if bomb else random.choice(["u1", "f8"])))
            odd = random.choice([claimed(random, b""), another_type(random, b""), b"a"])
            archive.writestr(zipfile.ZipInfo(name), whole if random.random() < 0.7 else odd, method)
    changed = bytearray(buffer.getvalue())
    if random.random() < 0.3:  # flags, method, sizes, or place of the first member, in the list at the end
        place = changed.find(b"PK\x01\x02") + random.choice([6, 8, 10, 20, 24, 42])
        changed[place : place + 2] = random.choice(_NUMBERS).to_bytes(8, "little")[:2]
    return bytes(changed)


def packed(random: Random, data: bytes) -> bytes:
    """Packed with gzip, then damaged or not; seldom with very many equal bytes."""
    if random.random() < 0.02:
        return gzip.compress(data + b"\0" * random.choice([10**6, 7 * 10**7]), 1, mtime=0)
    whole = gzip.compress(data, mtime=0)
    return random.choice(ANY)(random, whole) if random.random() < 0.8 else whole


def idx(random: Random, data: bytes) -> bytes:
    """An idx file that claims any shape."""
    shape = [random.choice([0, 1, 20, 28, 2**16, 2**31, 2**32 - 1]) for _ in range(random.choice([1, 3, 3, 4]))]
    head = bytes([0, 0, random.choice([8, 8, 9, 13]), len(shape)])
    return head + b"".join(size.to_bytes(4, "big") for size in shape) + random.randbytes(random.choice([0, 20, 784]))


def headed(random: Random, data: bytes) -> bytes:
    """A tar archive with a changed head whose checksum is right."""
    heads = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    if not heads:
        return flip(random, data)
    sizes = [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-1         \0", b"\0" * 12]
    kinds = [b"S", b"x", b"g", b"L", b"K", b"1", b"2", b"5", b"6", b"Z", b"7", b"\0"]
    names = [b"\0" * 100, b"/" * 100, b"../" * 33 + b"\0", random.randbytes(100), b"\x1b[31m".ljust(100, b"a")]
    fields = {124: sizes, 156: kinds, 0: names, 345: [b"a/" * 77 + b"\0", random.randbytes(155)]}
    fields[386] = [random.randbytes(96)]  # the map of a sparse file
    at, (begin, values) = random.choice(heads), random.choice(list(fields.items()))
    value, changed = random.choice(values), bytearray(data)
    changed[at + begin : at + begin + len(value)] = value
    changed[at + 148 : at + 156] = b" " * 8
    changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
    return bytes(changed)


def separated(random: Random, data: bytes) -> bytes:
    """Another sign between fields, at ends of lines, in texts."""
    signs = [(b",", b"\t"), (b",", b";"), (b"\n", b"\r"), (b"\n", b"\r\n"), (b"a", b'"'), (b"a", b""), (b"t", b"\xe9")]
    return data.replace(*random.choice(signs), random.choice([1, 3, -1]))


def tree(random: Random, data: bytes) -> bytes:
    """JSON with a field that holds something else, or is gone, or nests."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return noise(random, data)
    places = list(_places(whole)) if isinstance(whole, dict | list) else []
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        if not places:
            break
        owner, key = random.choice(places)
        how = random.randrange(10)
        if isinstance(owner, dict) and how < 3:
            owner.pop(key, None)
        else:
            owner[key] = random.choice(_VALUES) if how < 9 else _nested(random.choice([3, 90, 98, 120]))
    return json.dumps(whole).encode()


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def _places(whole: dict | list) -> Iterator[tuple[dict | list, object]]:
    for key, value in whole.items() if isinstance(whole, dict) else enumerate(whole):
        yield whole, key
        if isinstance(value, dict | list):
            yield from _places(value)


def deep(random: Random, data: bytes) -> bytes:
    """JSON of many levels."""
    sign, count = random.choice([b"[", b'{"a":']), random.choice([50, 101, 990, 100_000])
    return random.choice([sign * count, b'{"num_hidden_layers":' + b"[" * count + b"]" * count + b"}"])
