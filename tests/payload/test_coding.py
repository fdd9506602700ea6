"""Content codings: every cut decodes the same, nothing comes in larger pieces than promised, damage is found."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from llmguard.errors import RequestTooLarge, UnscannableRequest, UpstreamError
from llmguard.payload.coding import PIECE, Damaged, Decoder, of_answer, of_request


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("x-gzip", lambda d: gzip.compress(d[:20]) + gzip.compress(d[20:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", lambda d: zstd.compress(d[:20]) + zstd.compress(d[20:])),
}
every_coding = pytest.mark.parametrize(("coding", "pack"), PACK.values(), ids=PACK)


def unpacked(coding: str, pieces: list[bytes]) -> bytes:
    decoder, out = Decoder(coding), b""
    for piece in pieces:
        decoder.feed(piece)
        while got := decoder.next():
            out += got
    decoder.finish()
    return out


@every_coding
@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 700), min_size=1))
def test_any_cut_decodes_to_what_was_packed(
    coding: str, pack: Callable[[bytes], bytes], data: bytes, sizes: list[int]
) -> None:
    packed, pieces = pack(data), []
    while packed:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(packed[:size])
        packed = packed[size:]
    assert unpacked(coding, pieces) == data


@every_coding
def test_what_is_cut_or_goes_on_is_damaged(coding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(bytes(range(256)) * 9)
    for wrong in (packed[:-1], packed[: len(packed) // 2], packed[:1], packed + b"more", b"plain text"):
        with pytest.raises(Damaged):
            unpacked(coding, [wrong])
        with pytest.raises(UnscannableRequest):
            of_request(wrong, (("content-encoding", coding),), 10_000)


@every_coding
def test_a_bomb_comes_in_bounded_pieces_and_is_refused_at_the_limit(
    coding: str, pack: Callable[[bytes], bytes]
) -> None:
    bomb = pack(b" " * (24 * PIECE))
    decoder, sizes = Decoder(coding), []
    decoder.feed(bomb)
    while piece := decoder.next():
        sizes.append(len(piece))
    decoder.finish()
    assert sum(sizes) == 24 * PIECE
    assert max(sizes) <= 2 * PIECE
    with pytest.raises(RequestTooLarge):
        of_request(bomb, (("content-encoding", coding),), PIECE)


def test_a_window_larger_than_http_allows_is_damaged() -> None:
    wide = zstd.ZstdCompressor(
        options={zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    )
    packed = wide.compress(b"x" * 100) + wide.flush()
    with pytest.raises(Damaged):
        unpacked("zstd", [packed])


@pytest.mark.parametrize("values", [("gzip, gzip",), ("gzip", "gzip"), ("br,zstd",), ("compress",), ("aws-chunked",)])
def test_two_codings_or_an_unknown_one_are_refused(values: tuple[str, ...]) -> None:
    headers = tuple(("content-encoding", value) for value in values)
    with pytest.raises(UnscannableRequest):
        of_request(gzip.compress(b"{}"), headers, 1000)
    with pytest.raises(UpstreamError):
        of_answer(headers)


@pytest.mark.parametrize("value", ["", "identity", " Identity ", "identity,identity"])
def test_none_is_none(value: str) -> None:
    assert of_request(b"{}", (("content-encoding", value),), 1000) == b"{}"
    assert of_answer((("content-encoding", value),)) is None
