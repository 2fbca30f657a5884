from __future__ import annotations

import struct
import zlib

import pytest


@pytest.fixture(scope="session")
def huge_png():
    """Return a function that makes a PNG whose header claims side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    def made(side: int) -> bytes:
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        parts = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + parts

    return made
