"""Places: where a data set's files lie, on this machine or at a URL that ``fsspec`` understands.

Owns what a folder, a pattern or a URL stands for, and what is said of it: URLs without credentials and queries. Never
opens a protocol that its user has not named. Invariant: the same files give the same places, in the same order.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from llmguard.dataset.reading import Mark
from llmguard.errors import ConfigError, DatasetError

INSTALL = "files at a URL need a package that is not installed: pip install 'llmguard[data]'"
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "memory"})
"""Protocols where a file appears when it is written to its end."""
_BLOCK = 8 << 20
_CHANGES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created", "generation", "md5")
"""What file systems tell of a file that says whether it is still the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file. ``at``: its path or URL; ``under``: its name below what was named, with ``/``."""

    at: str = field(repr=False)
    under: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.under).name

    def __str__(self) -> str:
        return shown(self.at)

    def open(self) -> IO[bytes]:
        """Raises DatasetError, ConfigError."""
        with told(self.at):
            if not is_url(self.at):
                return open(self.at, "rb", buffering=0)
            fs, path = system(self.at)
            file: IO[bytes] = fs.open(path, "rb", block_size=_BLOCK, cache_type="readahead")
            return file

    def mark(self) -> Mark:
        """What the file is at this moment. Raises DatasetError, ConfigError."""
        with told(self.at):
            if not is_url(self.at):
                return Mark.of(os.stat(self.at))
            fs, path = system(self.at)
            fs.invalidate_cache()
            known = fs.info(path)
            if known.get("size") is None:
                raise DatasetError(f"{self} does not tell its size: fetch it first")
            named = repr([str(known.get(key)) for key in _CHANGES])
            return Mark(0, int(known["size"]), int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big"))

    @property
    def mode(self) -> int:
        """Who may read and write it here, as bits."""
        return 0o600 if is_url(self.at) else os.stat(self.at).st_mode & 0o666


@dataclass(frozen=True, slots=True)
class Several:
    """A folder, a pattern or a URL, where a Job has a path. ``folder``: whether a folder comes out."""

    said: str = field(repr=False)
    folder: bool

    @classmethod
    def of(cls, said: str) -> Several:
        """Raises DatasetError, ConfigError."""
        return cls(said, places(said)[1])

    @property
    def name(self) -> str:
        return shown(self.said).rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        return shown(self.said)

    @property
    def identity(self) -> str:
        """Names it in a journal."""
        return hashlib.sha256(self.said.encode()).hexdigest()


def is_url(said: str) -> bool:
    return "://" in said


def is_many(said: str) -> bool:
    """Whether this names a folder or a pattern, or a URL. A file with stars in its name is a file."""
    return is_url(said) or os.path.isdir(said) or (glob.has_magic(said) and not os.path.exists(said))


def shown(said: str) -> str:
    """A path, or a URL without what is nobody else's business."""
    if not is_url(said):
        return said
    parts = urlsplit(said)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def places(said: str) -> tuple[tuple[Place, ...], bool]:
    """The files that a folder, a pattern or a URL stands for, and whether they are those of a folder.

    Of a folder all files are meant, but for those (or in folders) whose names begin with a dot or an underscore.
    Raises DatasetError, ConfigError.
    """
    if not is_url(said):
        found, root = _here(said)
        return _placed(found, root, said), True
    with told(said):
        fs, path = system(said)
        if glob.has_magic(path):
            paths, root = [p for p in fs.glob(path) if not fs.isdir(p)], _root(path)
        elif fs.isdir(path):
            paths, root = fs.find(path), path
        else:
            return (Place(said, PurePosixPath(path).name),), False
        named = [(str(fs.unstrip_protocol(p)), str(p)) for p in paths]
    return _placed(named, root, said), True


def _here(said: str) -> tuple[list[tuple[str, str]], str]:
    if os.path.isdir(said):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(said) for name in names]
        root = said
    else:
        found, root = [p for p in glob.glob(said, recursive=True) if os.path.isfile(p)], _root(said)
    return [(path, Path(path).as_posix()) for path in found], Path(root).as_posix()


def _root(pattern: str) -> str:
    """The folder before the first name that is a pattern."""
    fixed = []
    for name in pattern.split("/")[:-1]:
        if glob.has_magic(name):
            break
        fixed.append(name)
    return "/".join(fixed) or ("/" if pattern.startswith("/") else ".")


def _placed(found: list[tuple[str, str]], root: str, said: str) -> tuple[Place, ...]:
    made = []
    for at, path in found:
        under = os.path.relpath(path, root)
        if not any(name.startswith((".", "_")) for name in under.split("/")):
            made.append(Place(at, under))
    if not made:
        raise DatasetError(f"there is no file in {shown(said)}")
    return tuple(sorted(made, key=lambda place: place.under))


# --------------------------------------------------------------------------- outputs at a URL


def free(url: str) -> bool:
    """Whether nothing is there yet. Raises DatasetError, ConfigError."""
    with told(url):
        fs, path = system(url)
        return not (fs.find(path) if fs.isdir(path) else fs.exists(path))


def put(made: Path, url: str) -> None:
    """A file, or the files of a folder, to a URL. Each appears whole. Raises DatasetError, ConfigError."""
    pairs = [(made, "")] if made.is_file() else [(p, p.relative_to(made).as_posix()) for p in sorted(made.rglob("*"))]
    with told(url):
        fs, path = system(url)
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        for source, under in pairs:
            if source.is_file():
                _put(fs, source, f"{path.rstrip('/')}/{under}" if under else path, whole=bool(protocols & _WHOLE))


def _put(fs: Any, source: Path, path: str, *, whole: bool) -> None:
    folder, _, name = path.rpartition("/")
    if folder:
        fs.makedirs(folder, exist_ok=True)
    if whole:
        fs.put_file(str(source), path)
        return
    part = f"{folder}/.{name}.part" if folder else f".{name}.part"
    fs.put_file(str(source), part)
    fs.mv(part, path)


# --------------------------------------------------------------------------- fsspec


def system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises ConfigError."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ConfigError(INSTALL) from None
    try:
        fs, path = url_to_fs(url)
    except ImportError as e:  # says which package; holds no part of the URL
        raise ConfigError(f"{shown(url)}: {e}") from None
    except ValueError:
        raise ConfigError(f"{shown(url)}: no such protocol") from None
    return fs, path


@contextmanager
def told(said: str) -> Iterator[None]:
    """Errors of a file system as ours. Raises DatasetError, ConfigError."""
    try:
        yield
    except (ConfigError, DatasetError):
        raise
    except OSError as e:
        raise DatasetError(f"{shown(said)}: {e.strerror or type(e).__name__}") from None
    except Exception as e:  # noqa: BLE001  each protocol's package has its own, whose texts may hold credentials
        raise DatasetError(f"{shown(said)}: {type(e).__name__}") from None
