"""Worker: a process that cleans blocks (``python -m llmguard.dataset.worker``), spoken to through its pipes.

It writes no file and nothing to the terminal: an error is told to the parent by its kind, and by its message only
where that is one of ours, which hold no content. Invariant: it ends when the parent is gone.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from llmguard.dataset import pipes
from llmguard.dataset.task import Numbered
from llmguard.errors import ConfigError, LLMGuardError
from llmguard.sifting import Block


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everyone; the parent ends us
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    try:
        _work(answers)
    except (EOFError, BrokenPipeError):
        return


def _work(answers: int) -> None:
    task, _ = pipes.receive(0)
    try:
        work = task.opened()
    except Exception as e:  # noqa: BLE001  this drives a process: whatever it is, the parent is told, by its kind
        pipes.send(answers, _told(e))
        return
    while True:
        (number, first, head), data = pipes.receive(0)
        try:
            done = work(Numbered(number, Block(first, data, head)))
        except Exception as e:  # noqa: BLE001  as above
            pipes.send(answers, _told(e))
            return
        pipes.send(answers, replace(done, data=b""), done.data)


def _told(error: Exception) -> tuple[str, str]:
    """Kind and message of an error, as the parent raises it again."""
    if isinstance(error, ConfigError):
        return "config", error.message
    if isinstance(error, LLMGuardError):
        return "ours", error.message
    return "other", type(error).__name__


if __name__ == "__main__":
    main()
