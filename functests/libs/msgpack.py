"""What handler and launcher speak (docs/architecture.md): length-prefixed MessagePack, written without their code."""

from collections.abc import Mapping


def packed(value: object) -> bytes:
    """``value`` as MessagePack: maps, tuples, booleans, numbers that are not negative, text, None."""
    if isinstance(value, Mapping):
        pairs = [packed(part) for item in value.items() for part in item]
        return bytes([0x80 | len(value)]) + b"".join(pairs)
    if isinstance(value, tuple):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xce" + value.to_bytes(4, "big")
    text = str(value).encode()
    return bytes([0xD9, len(text)]) + text


def event(message: Mapping[str, object]) -> bytes:
    """A frame: number of the request, whether it is an answer, and the message, with its length before it."""
    body = packed((0, False, message))
    return len(body).to_bytes(4, "big") + body
