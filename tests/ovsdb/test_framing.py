"""The framer against streams made by the standard library's json, cut anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnbridge.ovsdb.framing import Framer, FramingError

TEXT = st.text(st.characters(exclude_categories=("Cs",))) | st.text('{}[]"\\:,é€😀 ', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
DOCUMENTS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=6)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    chunks, position = [], 0
    while position < len(stream):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(stream[position : position + size])
        position += size
    return chunks


@settings(max_examples=600, deadline=None)
@given(
    documents=DOCUMENTS,
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    blank=st.sampled_from(["", "\n", " \r\n\t"]),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_any_stream_cut_anywhere(
    documents: list[Any], sizes: list[int], blank: str, ascii_only: bool, indent: int | None
) -> None:
    stream = blank.join(json.dumps(d, ensure_ascii=ascii_only, indent=indent) for d in documents) + blank
    framer = Framer()
    found: list[Any] = []
    for chunk in cut(stream.encode(), sizes):
        found += framer.feed(chunk)
    assert found == documents
    assert framer.pending == 0


@settings(max_examples=200, deadline=None)
@given(documents=st.lists(st.dictionaries(TEXT, VALUES, max_size=4), min_size=1, max_size=4), data=st.data())
def test_a_document_is_given_as_soon_as_its_last_byte_is_there(documents: list[Any], data: st.DataObject) -> None:
    texts = [json.dumps(d).encode() for d in documents]
    framer = Framer()
    for text, document in zip(texts, documents, strict=True):
        where = data.draw(st.integers(1, len(text) - 1))
        assert framer.feed(text[:where]) == []
        assert framer.feed(text[where:]) == [document]


@pytest.mark.parametrize("garbage", [b"x", b"[1]", b'"{"', b"}", b"{}}", b"{}[]{}", b"{a}", b'{} , {"a":1}', b"\xff{}"])
def test_what_is_not_a_sequence_of_objects_is_refused(garbage: bytes) -> None:
    with pytest.raises(FramingError):
        Framer().feed(garbage)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_random_bytes_never_do_anything_but_fail_cleanly(stream: bytes, sizes: list[int]) -> None:
    framer = Framer()
    try:
        for chunk in cut(stream, sizes):
            framer.feed(chunk)
    except FramingError:
        pass


@pytest.mark.parametrize("chunk", [1 << 12, 1 << 16, 1 << 20])
def test_a_large_document_in_chunks(chunk: int) -> None:
    """A dump of several megabytes; how the time grows is measured by bench/ovsdb_load.py."""
    row = {"initial": {"name": "a}{\\b", "external_ids": ["map", [["k", 'v"'], ["é", "{"]]]}}
    stream = json.dumps({"result": {f"{n:036}": row for n in range(30_000)}}, ensure_ascii=False).encode()
    framer, found = Framer(), []
    for start in range(0, len(stream), chunk):
        found += framer.feed(stream[start : start + chunk])
    assert [len(document["result"]) for document in found] == [30_000]
    assert found[0]["result"][f"{7:036}"] == row


def test_many_small_documents_in_one_chunk() -> None:
    one = json.dumps({"method": "update3", "params": ["x", {"a": 'b\\"}{'}]}).encode()
    framer = Framer()
    found = framer.feed(one * 5000 + one[:7])
    assert len(found) == 5000
    assert framer.feed(one[7:]) == [json.loads(one)]
