"""Ray: cleans the blocks of a data set on the machines of a Ray cluster, or on this one (``--engine ray``).

Owns what Ray is asked for and how much is under way. Never reads or writes a file: that is done where the command runs,
as for every engine, so that journal, resume, collisions and output are the same. Blocks are Ray's tasks and no
pipeline of Ray Data, which tries a block that ends its worker again for ever and would read the files a second way.

Invariants: what is done comes in the order of the blocks, with the bytes that ``LocalEngine`` gives; a block whose
worker or machine died is done again at most ``AGAIN`` times; nothing is reported to Ray's makers; an error carries no
content, also not into Ray's logs; a machine with other keys does nothing.

Whoever may speak to the cluster may read what is in it. A cluster that is started here takes only calls with a token
made for this run, but it listens on all addresses of the machine, and without TLS: not for an open network.
"""

from __future__ import annotations

import atexit
import hmac
import os
import pickle
import secrets
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from llmguard.dataset.engine import AGAIN, AHEAD, cores
from llmguard.dataset.task import Done, Numbered, Task
from llmguard.errors import ConfigError, DatasetError, LLMGuardError
from llmguard.sifting import Block
from llmguard.vault import Keyring, Vault

INSTALL = "the engine ray needs packages that are not installed: pip install 'llmguard[ray]'"
_LOOK = 64
"""Blocks after which the size of the cluster is asked for again."""
_PATH = 40
"""Characters of the folder for Ray's sockets, whose names may have 107."""
Answer = Done | tuple[str, str]
"""What is done, or kind and message of an error."""


class RayEngine:
    """Tasks of the cluster that ``RAY_ADDRESS`` names or this process is part of, else of one that is started here.

    ``workers``: blocks that are cleaned at a time; 0: as many as the cluster has processors.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
        """Raises ConfigError, DatasetError."""
        ray = _connected(self.workers)
        clean = ray.remote(num_cpus=1, max_retries=AGAIN, retry_exceptions=False)(_clean)
        shared = ray.put((pickle.dumps(task), _proof(task)))
        source, under_way = iter(blocks), deque[tuple[Numbered, Any]]()
        room, more, given = 0, True, 0
        while more or under_way:
            while more and (not under_way or len(under_way) < room):
                if given % _LOOK == 0:
                    room = AHEAD * (self.workers or _processors(ray))
                item = next(source, None)
                more = item is not None
                if item is not None:
                    given += 1
                    under_way.append((item, clean.remote(shared, item.number, item.block.first, _packed(ray, item))))
            if under_way:
                yield _taken(ray, *under_way.popleft())


def _packed(ray: Any, item: Numbered) -> Any:
    return ray.put((item.block.head, item.block.data))


def _taken(ray: Any, item: Numbered, answer: Any) -> Done:
    """Waits for a block. Raises ConfigError, DatasetError."""
    where = f"the block of {len(item.block.data):,} bytes that begins with record {item.block.first + 1:,}"
    try:
        done: Answer = ray.get(answer)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        raise DatasetError(
            f"{AGAIN + 1} workers died over {where}. Is memory short? Nothing was published; "
            "the same command goes on where it stopped"
        ) from None
    except ray.exceptions.RayError as e:  # its text may hold what a worker's memory held
        kind = type(e.cause).__name__ if isinstance(e, ray.exceptions.RayTaskError) else type(e).__name__
        raise DatasetError(
            f"Ray could not do {where} ({kind}). Is the same llmguard installed on all machines of the cluster? "
            "Nothing was published; the same command goes on where it stopped"
        ) from None
    if isinstance(done, Done):
        return done
    kind, message = done
    if kind == "config":
        raise ConfigError(message)
    raise DatasetError(
        f"in {where}: {message}" if kind == "ours" else f"an error ({message}) in {where}; nothing of it is shown"
    )


# --------------------------------------------------------------------------- on the cluster


def _clean(shared: tuple[bytes, bytes], number: int, first: int, packed: tuple[bytes, bytes]) -> Answer:
    """One block, in a worker's process, which does more than one."""
    try:
        head, data = packed
        return _opened(*shared)(Numbered(number, Block(first, data, head)))
    except ConfigError as e:
        return "config", e.message
    except LLMGuardError as e:
        return "ours", e.message
    except Exception as e:  # noqa: BLE001  Ray would log its text, in which content may stand
        return "other", type(e).__name__


@lru_cache(maxsize=1)
def _opened(packed: bytes, proof: bytes) -> Callable[[Numbered], Done]:
    """Raises ConfigError."""
    task: Task = pickle.loads(packed)  # noqa: S301  from our own driver, over the cluster that may run code here anyway
    keys = task.recipe.settings.data / "keys"
    if not keys.is_dir() or not hmac.compare_digest(proof, _proof(task)):  # opening makes keys where there are none
        raise ConfigError(f"a machine of the cluster has not the keys of this installation; copy or mount {keys} there")
    return task.opened()


def _proof(task: Task) -> bytes:
    """Tells whether two machines write the same surrogates and placeholders."""
    settings = task.recipe.settings
    return Vault(Keyring.open(settings.data / "keys")).digest(settings.tenant, "ray", "the same keys")


# --------------------------------------------------------------------------- the cluster


def _processors(ray: Any) -> int:
    """Raises ConfigError."""
    found = int(ray.cluster_resources().get("CPU", 0))
    if not found:
        raise ConfigError("the Ray cluster has no processors; start workers first")
    return found


def _connected(workers: int) -> Any:
    """Ray, connected. Raises ConfigError."""
    own = "RAY_ADDRESS" not in os.environ
    _prepare(own)
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ConfigError(INSTALL) from None
    if ray.is_initialized():
        return ray
    try:
        if own:
            _start(ray, workers or cores())
        else:
            ray.init(log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as e:
        raise ConfigError(f"Ray cannot be started or reached ({type(e).__name__}): see RAY_ADDRESS") from None
    return ray


def _prepare(own: bool) -> None:
    """What Ray reads when it is imported: to send nothing to its makers, and a token for a cluster of our own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if own and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _start(ray: Any, workers: int) -> None:
    """A cluster of this machine, which ends with this process."""
    folder = tempfile.mkdtemp(prefix="llmguard-")
    if len(folder) > _PATH:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="llmguard-", dir="/tmp")
    atexit.register(_end, ray, folder)
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _temp_dir=folder,
    )


def _end(ray: Any, folder: str) -> None:
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
