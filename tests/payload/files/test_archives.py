"""Archives: their members are looked into like files, within bounds, and whatever is not is told."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib
from importlib import import_module

import pytest

from llmguard.payload.files import HEAD, Limits, Looked, kind_of, look_into

SECRET = "the words inside"


def looked(data: bytes, name: str = "", limits: Limits | None = None) -> Looked:
    return look_into(io.BytesIO(data), kind_of(data[:HEAD], name, ""), limits=limits)


def texts(seen: Looked) -> str:
    return "\n".join(p.text for p in seen.parts)


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    module = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    packed: bytes = module.compress(data)
    return packed


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_of_a_zip_are_text_under_their_names(method: int) -> None:
    seen = looked(zipped({"notes/a.txt": SECRET, "b.json": '{"k": "v"}'}, method))
    assert seen.unscanned == ()
    assert {p.address: p.text for p in seen.parts} == {
        "file#names": "notes/a.txt\nb.json",
        "file!notes/a.txt": SECRET,
        "file!b.json": '{"k": "v"}',
    }
    assert not any(p.redactable for p in seen.parts)


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstd, bz2.compress, lzma.compress, lambda d: gzip.compress(d[:3]) + gzip.compress(d[3:])]
)
def test_one_compressed_file_is_looked_into(pack) -> None:  # type: ignore[no-untyped-def]
    seen = looked(pack(SECRET.encode()))
    assert (texts(seen), seen.unscanned) == (SECRET, ())


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_of_a_tar_are_looked_into(form: int) -> None:
    long = "folder/" + "n" * 90 + "/ü" * (form != tarfile.USTAR_FORMAT) * 20 + "/jane.txt"
    seen = looked(gzip.compress(tarred({long: SECRET.encode(), "b": b"more"}, form)))
    assert seen.unscanned == ()
    assert SECRET in texts(seen)
    assert "more" in texts(seen)
    assert "jane.txt" in texts(seen)


def test_names_comments_and_targets_of_links_are_text() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.comment = b"said of the member"
        archive.writestr(info, "")
        archive.comment = b"said of the archive"
    assert "said of the member" in texts(looked(out.getvalue()))
    assert "said of the archive" in texts(looked(out.getvalue()))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/home/jane"
        tar.addfile(link)
    assert "/home/jane" in texts(looked(out.getvalue()))


def test_the_name_that_a_gzip_file_carries_is_text() -> None:
    out = io.BytesIO()
    with gzip.GzipFile("jane-doe.txt", "wb", fileobj=out) as file:
        file.write(b"x")
    assert "jane-doe.txt" in texts(looked(out.getvalue()))


def test_a_name_that_leads_out_of_the_folder_is_only_text() -> None:
    seen = looked(zipped({"../../etc/passwd": SECRET, "/abs\n\0": "y", "C:\\x": "z"}))
    assert "../../etc/passwd" in texts(seen)
    assert SECRET in texts(seen)
    assert not any("\n" in p.address for p in seen.parts)


def test_pictures_and_programs_in_an_archive_are_told() -> None:
    seen = looked(
        zipped({"a.png": b"\x89PNG\r\n\x1a\n" + bytes(20), "b.exe": b"MZ\0\1\2", "c.mp3": b"ID3\4" + bytes(9)})
    )
    assert seen.unscanned == ("audio", "file", "image")


def test_three_archives_in_one_another_are_opened_and_a_fourth_is_told() -> None:
    three = zipped({"1": zipped({"2": zipped({"3": SECRET})})})
    assert SECRET in texts(looked(three))
    assert looked(three).unscanned == ()
    four = looked(zipped({"0": three}))
    assert SECRET not in texts(four)
    assert four.unscanned == ("archive",)


def test_an_archive_that_holds_itself_ends() -> None:
    data = b"x"
    for _ in range(200):
        data = gzip.compress(data)
    assert looked(data).unscanned == ("archive",)


@pytest.mark.parametrize("flags", [1, 0x41])
def test_an_encrypted_member_is_told(flags: int) -> None:
    data = bytearray(zipped({"a.txt": SECRET}, zipfile.ZIP_STORED))
    data[6] |= flags
    data[data.index(b"PK\1\2") + 8] |= flags
    seen = looked(bytes(data))
    assert seen.unscanned == ("archive",)
    assert "a.txt" in texts(seen)


def test_a_method_that_is_not_known_is_told() -> None:
    assert looked(zipped({"a.txt": SECRET}, zipfile.ZIP_LZMA)).unscanned == ("archive",)


def test_a_member_is_unpacked_to_its_end_whatever_size_is_claimed() -> None:
    """A reader that believes the size would see the first ten bytes; another one unpacks all."""
    body = b"0123456789" + SECRET.encode()
    data = bytearray(zipped({"a.txt": body}))
    for at in (22, data.index(b"PK\1\2") + 24):
        data[at : at + 4] = struct.pack("<L", 10)
    for at in (14, data.index(b"PK\1\2") + 16):
        data[at : at + 4] = struct.pack("<L", zlib.crc32(body[:10]))
    seen = looked(bytes(data))
    assert SECRET in texts(seen)
    assert seen.unscanned == ("archive",)


def test_entries_that_share_their_bytes_are_told() -> None:
    """A bomb that needs no nesting: many entries of the directory name one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", b"a" * 4_000_000)
        for i in range(1, 300):
            twin = zipfile.ZipInfo(str(i))
            first = archive.filelist[0]
            twin.compress_type, twin.CRC, twin.header_offset = first.compress_type, first.CRC, first.header_offset
            twin.compress_size, twin.file_size = first.compress_size, first.file_size
            archive.filelist.append(twin)
    assert looked(out.getvalue()).unscanned == ("archive",)


def test_members_that_the_directory_does_not_name_are_told() -> None:
    hidden, shown = zipped({"hidden.txt": "x" * 3000}, zipfile.ZIP_STORED), zipped({"a": "y"})
    at = hidden.index(b"PK\1\2")
    data = bytearray(hidden[:at] + shown)
    end = data.rindex(b"PK\5\6")
    start = struct.unpack("<L", data[end + 16 : end + 20])[0]
    data[end + 16 : end + 20] = struct.pack("<L", start + at)
    central = data.rindex(b"PK\1\2")
    data[central + 42 : central + 46] = struct.pack("<L", at)
    seen = looked(bytes(data))
    assert "y" in texts(seen)
    assert seen.unscanned == ("archive",)


@pytest.mark.parametrize("pack", [gzip.compress, zstd, bz2.compress, lzma.compress, lambda d: zipped({"a": d})])
def test_a_bomb_costs_no_more_than_the_bounds(pack) -> None:  # type: ignore[no-untyped-def]
    limits = Limits(held=1 << 20, unpacked=1 << 20, characters=1 << 19)
    seen = looked(pack(b"word " * 400_000), limits=limits)
    assert "archive" in seen.unscanned
    assert sum(len(p.text) for p in seen.parts) <= limits.characters


def test_a_bomb_of_bombs_stops_at_the_total() -> None:
    inner = zipped({"a": bytes(4 << 20)})
    seen = looked(zipped({f"{i}.zip": inner for i in range(200)}), limits=Limits(unpacked=16 << 20))
    assert "archive" in seen.unscanned


def test_more_members_than_are_looked_at_are_told() -> None:
    seen = looked(zipped({str(i): "x" for i in range(200)}), limits=Limits(entries=100))
    assert seen.unscanned == ("archive",)


@pytest.mark.parametrize("start", [b"7z\xbc\xaf\x27\x1c\0\4", b"Rar!\x1a\7\1\0", b"MSCF\0\0\0\0", b"\x04\x22\x4d\x18"])
def test_archives_that_nobody_opens_are_told(start: bytes) -> None:
    assert looked(start + bytes(40)).unscanned == ("archive",)


def test_what_came_before_the_cut_is_looked_into() -> None:
    packed = gzip.compress(SECRET.encode())
    seen = looked(packed[:-4])
    assert SECRET in texts(seen)
    assert seen.unscanned == ("archive",)


@pytest.mark.parametrize("pack", [lambda: zipped({"a": "b" * 99, "c": "d"}), lambda: tarred({"a": b"b" * 900})])
def test_a_cut_archive_is_told_wherever_it_is_cut(pack) -> None:  # type: ignore[no-untyped-def]
    whole = pack()
    for end in range(6, min(len(whole), 1536), 7):
        assert looked(whole[:end], "a.zip").unscanned, end


def test_a_tar_whose_member_claims_more_than_there_is_is_told() -> None:
    data = bytearray(tarred({"a.txt": SECRET.encode()}))
    data[124:136] = b"77777777777\0"
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + sum(data[156:512]) + 256)
    assert "archive" in looked(bytes(data)).unscanned


def test_a_picture_with_a_zip_behind_it_is_both() -> None:
    seen = looked(b"\x89PNG\r\n\x1a\n" + bytes(40) + zipped({"a.txt": SECRET}))
    assert SECRET in texts(seen)
    assert seen.unscanned == ("archive", "image")


def test_a_picture_that_is_text_as_well_is_both() -> None:
    seen = looked(b"GIF89a = 'the words inside';")
    assert SECRET in texts(seen)
    assert seen.unscanned == ("image",)
