"""Files as a bad disk or a cut copy leaves them."""


def flipped(content: bytes, place: int) -> bytes:
    """With one bit changed, at a byte counted from the beginning or, below 0, from the end."""
    changed = bytearray(content)
    changed[place] ^= 1 << (place % 8)
    return bytes(changed)


def overwritten(content: bytes, place: int, length: int = 64) -> bytes:
    """With a block of other bytes, all of them changed."""
    changed = bytearray(content)
    for i in range(place, min(place + length, len(content))):
        changed[i] ^= 0xA5
    return bytes(changed)
