"""Splits the byte stream of a JSON-RPC peer into decoded JSON objects.

Fed by `session.py` with whatever the socket gave, drained by it document by document. OVSDB has no length prefix, so
the end of a document is where the braces outside string literals balance. Promise: linear time and a few C-speed passes
over the bytes, whatever the sizes of chunks and documents. Most ends are guessed
("}{", or the end of what was read) and proved by decoding: what decodes is a document, for no object is the beginning
of another. The first wrong guess, or a large document, ends the guessing until
a document has ended.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_BLANK = b" \t\r\n"
_OPEN = ord("{")
_GUESSED = 1 << 18
"""Bytes of a document up to which its end is guessed."""
_SEAM = re.compile(rb"}(?=[ \t\r\n]*{)")


class FramingError(ValueError):
    """The bytes are not a sequence of JSON objects."""


class Framer:
    """Bytes in, decoded JSON objects out."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.pending = 0
        """Bytes of the unfinished document."""
        self._carry = b""  # a backslash whose escaped byte has not arrived yet
        self._depth = 0
        self._in_literal = False
        self._exact = False  # whether carry, depth and literal are kept

    def feed(self, chunk: bytes) -> list[Any]:
        """The documents that this chunk completes, in order; raises FramingError."""
        if self._exact:
            return self._feed(chunk)
        documents: list[Any] = []
        start = 0
        while start < len(chunk):
            seam = chunk.find(b"}{", start) + 1 or len(chunk)
            piece = chunk[start:seam]
            proper = bool(self.pending) or piece[0] == _OPEN
            self._keep(piece)
            if proper and not piece.rstrip(_BLANK).endswith(b"}") and self.pending < _GUESSED:
                break
            try:
                if not proper:
                    raise FramingError("blanks, or no document")
                documents.append(orjson.loads(self._joined()))
            except ValueError:  # so it is, or the seam is within a literal, or the document goes on
                self._depth, self._in_literal, self._carry = 0, False, b""
                documents += self._feed(self._joined(restart=True) + chunk[seam:])
                break
            self._chunks, self.pending = [], 0
            start = seam
        return documents

    def _joined(self, *, restart: bool = False) -> bytes:
        joined = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if restart:
            self._chunks, self.pending = [], 0
        return joined

    def _feed(self, chunk: bytes) -> list[Any]:
        """The exact way, which needs several passes over the bytes; kept to until a document has ended."""
        documents = self._feed_exactly(chunk)
        self._exact = not documents or self.pending >= _GUESSED
        if not self._exact and self._carry:
            self._keep(self._carry)
        return documents

    def _feed_exactly(self, chunk: bytes) -> list[Any]:
        text = self._complete_escapes(chunk)
        depth, in_literal = self._depth, self._in_literal
        shape = self._shape(text)
        if depth == 0 and not self._chunks and shape[:1] not in (b"{", b""):
            raise FramingError(f"not a JSON object: {text[:40]!r}")
        self._depth += shape.count(b"{") - shape.count(b"}")
        if self._depth < 0:
            raise FramingError("unbalanced braces")
        # Inside a document a comma or colon stands between "}" and "{", so "}{" is exactly where a document ends.
        if b"}{" not in shape:
            if shape or depth or self._chunks:
                self._keep(text)
            elif text.strip(_BLANK):
                raise FramingError(f"not a JSON object: {text[:40]!r}")
            if self._depth == 0 and b"}" in shape:
                return [self._take()]
            return []
        return self._split(text, depth, in_literal)

    def _complete_escapes(self, chunk: bytes) -> bytes:
        text = self._carry + chunk if self._carry else chunk
        if text[-1:] == b"\\" and (len(text) - len(text.rstrip(b"\\"))) % 2:
            self._carry = b"\\"
            return text[:-1]
        self._carry = b""
        return text

    def _shape(self, text: bytes) -> bytes:
        """What stands outside string literals, without blanks."""
        if b"\\" in text:
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = text.split(b'"')
        outside = parts[1::2] if self._in_literal else parts[::2]
        if len(parts) % 2 == 0:
            self._in_literal = not self._in_literal
        return b"".join(outside).translate(None, _BLANK)

    def _split(self, text: bytes, depth: int, in_literal: bool) -> list[Any]:
        """Cut at every "}" "{" that stands outside literals and at depth 0."""
        documents: list[Any] = []
        start = position = 0
        self._in_literal = in_literal
        for seam in _SEAM.finditer(text):
            shape = self._shape(text[position : seam.start() + 1])
            depth += shape.count(b"{") - shape.count(b"}")
            position = seam.start() + 1
            if depth < 0:
                raise FramingError("unbalanced braces")
            if depth == 0 and not self._in_literal:
                self._keep(text[start:position])
                documents.append(self._take())
                start = position
        shape = self._shape(text[position:])
        if rest := text[start:].lstrip(_BLANK):
            self._keep(rest)
            if depth + shape.count(b"{") - shape.count(b"}") == 0 and not self._in_literal:
                documents.append(self._take())
        return documents

    def _keep(self, text: bytes) -> None:
        self._chunks.append(text)
        self.pending += len(text)

    def _take(self) -> Any:
        document = self._joined(restart=True)
        try:
            return orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise FramingError(str(error)) from error
