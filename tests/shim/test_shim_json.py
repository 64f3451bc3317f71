"""The plug-in's JSON scanner against Python's decoder: both accept the same documents and read the same values in them.

Python's is made as strict as RFC 8259 and the scanner's design: objects only, 64 levels, no lone surrogates."""

from __future__ import annotations

import json
import random
import string
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shim_harness import SOURCE

ABSENT, STRING, OBJECT, OTHER = range(4)
KEPT = 107
LEVELS = 64

# ---- the oracle ----


class Members(list[tuple[str, Any]]):
    """An object as it is written: every member, equal keys included."""

    def last(self, wanted: str) -> Any:
        return next((value for key, value in reversed(self) if key == wanted), None)


def refuse(constant: str) -> None:
    raise ValueError(constant)


decoder = json.JSONDecoder(
    object_pairs_hook=Members,
    parse_constant=refuse,
    parse_int=lambda _: 0,  # Python's int has a limit of digits; the value does not matter
    parse_float=lambda _: 0.0,
)


def check(value: Any, level: int) -> None:
    if isinstance(value, list):
        if level == LEVELS:
            raise ValueError("too deep")
        for item in value:
            if isinstance(value, Members):
                item[0].encode()
            check(item[1] if isinstance(value, Members) else item, level + 1)
    elif isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError, for a lone surrogate


def describe_text(value: Any) -> str:
    if not isinstance(value, str):
        kind = ABSENT if value is None else OBJECT if isinstance(value, Members) else OTHER
        return f"{kind},0,0,"
    encoded = value.encode()
    return f"{STRING},{int(0 in encoded)},{len(encoded)},{encoded[:KEPT].hex()}"


def describe(document: bytes) -> str:
    """The line that extract.c prints."""
    try:
        value = decoder.decode(document.decode())
        check(value, 0)
    except (ValueError, RecursionError):
        return "-"
    if not isinstance(value, Members):
        return "-"
    ipam = value.last("ipam")
    nested = ipam.last("server_socket") if isinstance(ipam, Members) else None
    texts = [value.last("cniVersion"), value.last("type"), value.last("server_socket"), nested]
    kind = (
        ABSENT if ipam is None else STRING if isinstance(ipam, str) else OBJECT if isinstance(ipam, Members) else OTHER
    )
    return " ".join([*map(describe_text, texts), str(kind)])


# ---- the scanner ----


def frame(document: bytes) -> bytes:
    return struct.pack("<I", len(document)) + document


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("extract") / "extract"
    sources = [Path(__file__).with_name("extract.c"), SOURCE / "json.c", SOURCE / "text.c"]
    flags = [
        "-std=c11",
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    subprocess.run(["cc", *flags, f"-I{SOURCE}", *sources, "-o", out], check=True, timeout=60)
    return out


def extract_all(program: Path, documents: list[bytes]) -> list[str]:
    done = subprocess.run(
        [program], input=b"".join(map(frame, documents)), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.fixture(scope="module")
def extract(program: Path) -> Iterator[Callable[[bytes], str]]:
    """One process for all documents."""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(document: bytes) -> str:
            stdin.write(frame(document))
            stdin.flush()
            return stdout.readline().decode().rstrip("\n")

        yield ask
        stdin.close()
        assert process.wait(10) == 0


# ---- documents ----

KEYS = ["cniVersion", "type", "server_socket", "ipam"]
PIECES = [
    *'{}[]:,"\\0123456789-+.eE \t\r\n',
    *(
        "\0",
        "\x1f",
        "\x7f",
        "\x0b",
        "\xa0",
        "\u2028",
        "\ufeff",
        "é",
        "\u20ac",
        "😀",
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "nul",
    ),
    *(
        r"\u0000",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\ud800",
        r"\ude00\ud83d",
        r"\uD83D\uDE0",
        r"\u12",
        r"\x41",
        r"\/",
        r"\b\f\n\r\t",
        r"\'",
    ),
    *(
        '"":',
        '"ipam":{',
        '"server_socket":"/s"',
        '"type":"kube-ovn"',
        '"cniVersion":"1.0.0"',
        '"i\\u0070am":',
        "[[[[[[[[",
        "]]]]]]]]",
    ),
    *("01", "-0", "-", "1.", ".5", "1e", "1e+", "1E-5", "0x1", "//", "/**/", "'", "}{"),
]
RAW = [
    b"\x80",
    b"\xc0\x80",
    b"\xc1",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xef\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5",
]
RAW += [b"\xff", b"\xfe", b"\xe2\x82", b"\xf0\x9f\x98", b"\xf4\x8f\xbf\xbf"]

texts = st.text(max_size=12) | st.sampled_from(
    ["kube-ovn", "/run/x.sock", "1.0.0", "", "\0", "x" * 107, "x" * 108, "é" * 54, "a\0b"]
)
keys = st.sampled_from(KEYS) | texts
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


def write_object(members: list[tuple[str, Any]], ascii_only: bool, space: str) -> str:
    written = (
        f"{write(key, ascii_only, space)}{space}:{space}{write(value, ascii_only, space)}" for key, value in members
    )
    return "{" + space + f"{space},{space}".join(written) + space + "}"


def write(value: Any, ascii_only: bool, space: str) -> str:
    """Like json.dumps, but keeps equal keys and puts white space everywhere."""
    if isinstance(value, Members):
        return write_object(value, ascii_only, space)
    if isinstance(value, list):
        return "[" + space + f"{space},{space}".join(write(item, ascii_only, space) for item in value) + space + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def members_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(keys, values), max_size=5).map(Members)


values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | members_of(inner), max_leaves=12)
documents = st.builds(
    lambda members, ascii_only, space: write(members, ascii_only, space).encode(),
    members_of(values),
    st.booleans(),
    st.sampled_from(["", " ", "\r\n\t "]),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    document = draw(documents)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(document)))
        until = draw(st.integers(at, min(len(document), at + 8)))
        piece = draw(
            st.just(b"") | st.sampled_from(PIECES).map(str.encode) | st.sampled_from(RAW) | st.binary(max_size=3)
        )
        document = document[:at] + piece + document[until:]
    return document


module_fixtures = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@module_fixtures
@given(document=documents)
def test_well_formed_documents(extract: Callable[[bytes], str], document: bytes) -> None:
    described = describe(document)
    assert described != "-"
    assert extract(document) == described


@module_fixtures
@given(document=damaged() | st.binary(max_size=20))
@example(b'{"a":"\\ud83d\\ude00\xf0\x9f\x98\x80"}')
@example(b'{"type":"a","type":3}')
@example(b'{"ipam":{"server_socket":"/a"},"ipam":null}')
@example(b'{"a":' + b"9" * 5000 + b"}")
def test_damaged_documents(extract: Callable[[bytes], str], document: bytes) -> None:
    assert extract(document) == describe(document)


def nested(levels: int, opening: str, closing: str, middle: str) -> bytes:
    return ('{"a":' + opening * levels + middle + closing * levels + "}").encode()


@pytest.mark.parametrize(
    ("opening", "closing", "middle"), [("[", "]", "0"), ('{"a":', "}", "1"), ('[{"ipam":', "}]", "{}")]
)
def test_depth(extract: Callable[[bytes], str], opening: str, closing: str, middle: str) -> None:
    documents = [nested(levels, opening, closing, middle) for levels in range(70)]
    found = [extract(document) for document in documents]
    assert found == [describe(document) for document in documents]
    assert 30 < found.index("-") < 65


def test_every_short_escape_and_every_byte(program: Path) -> None:
    documents = [b'{"type":"%c"}' % byte for byte in range(256)]
    documents += [b'{"type":"\\%c"}' % byte for byte in range(256)]
    documents += [b'{"type":"\\u%c000"}' % byte for byte in range(256)]
    documents += [b'{"type":%c}' % byte for byte in range(256)] + [b'%c{"type":1%c}%c' % (b, b, b) for b in range(256)]
    documents += [f'{{"type":"\\u{unit:04x}"}}'.encode() for unit in range(0, 0x10000, 7)]
    edges = [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000, 0xFFFF]
    documents += [f'{{"type":"\\u{unit:04x}"}}'.encode() for unit in edges]
    documents += [f'{{"type":"\\u{high:04x}\\u{low:04X}"}}'.encode() for high in edges for low in edges]
    documents += [
        b'{"type":"%c%c%c"}' % (a, b, 0x80) for a in range(0xC0, 256) for b in (0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0)
    ]
    documents += [b'{"type":"%c%c\x80\x80"}' % (a, b) for a in range(0xE0, 256) for b in (0x80, 0x8F, 0x90, 0xBF)]
    found = extract_all(program, documents)
    assert found == [describe(document) for document in documents]


def random_document(rng: random.Random) -> bytes:
    """Faster than Hypothesis, so that many are tried: a configuration with pieces put in, taken out and doubled."""
    simple: list[Any] = [*KEYS, "kube-ovn", "/s", None, 1, [], {}, {"server_socket": "/i"}]
    members = [(rng.choice(KEYS), rng.choice(simple)) for _ in range(4)]
    document = b"{" + b",".join(json.dumps(k).encode() + b":" + json.dumps(v).encode() for k, v in members) + b"}"
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(document) + 1)
        piece = rng.choice(
            [b"", rng.choice(RAW), *[rng.choice(PIECES).encode()] * 3, rng.choice(string.printable).encode()]
        )
        document = document[:at] + piece + document[at + rng.choice([0, 0, 1, len(piece)]) :]
    return document


@pytest.mark.parametrize("seed", range(2))
def test_many(program: Path, seed: int) -> None:
    rng = random.Random(seed)
    documents = [random_document(rng) for _ in range(20_000)]
    found = extract_all(program, documents)
    accepted = len(documents) - found.count("-")
    assert 4_000 < accepted < 16_000  # both kinds are well represented
    for document, line in zip(documents, found, strict=True):
        assert line == describe(document), document
