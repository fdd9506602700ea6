"""``llmguard channels``: what is configured, how it does, and a message that harms nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from llmguard.cli.doctor import channels as examined
from llmguard.config import load
from tests.desks import TENANT, Desk, Shell
from tests.notify.conftest import SECRET
from tests.notify.counterparts import BOT, Answer, Counterpart, mail_server


@pytest.fixture
def there() -> Iterator[Counterpart]:
    with Counterpart() as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, there: Counterpart, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Shell:
    made = Shell(tmp_path / "shell", "http://127.0.0.1:1", capsys)
    with made.config.open("a") as f:
        f.write(
            f'[[channels]]\nname = "siem"\nkind = "webhook"\nurl = "{there.url}/in"\n'
            f'[[channels]]\nname = "floor"\nkind = "teams"\nurl = "{there.url}/flow?sig=hidden"\n'
            f'[[channels]]\nname = "chat"\nkind = "slack"\nurl = "{there.api}"\nconversation = "C0123456789"\n'
            'team = "T0123456789"\ngroups = ["reviewers"]\nevents = ["pending"]\n'
            '[[channels]]\nname = "lacking"\nkind = "webhook"\nurl = "https://siem.example/in"\n'
        )
    monkeypatch.setenv("LLMGUARD_CHANNEL_SIEM_TOKEN", SECRET)
    monkeypatch.setenv("LLMGUARD_CHANNEL_CHAT_TOKEN", BOT)
    monkeypatch.setenv("LLMGUARD_CHANNEL_CHAT_SIGNING_SECRET", "s")
    return made


@pytest.mark.parametrize("name", ["siem", "floor", "chat"])
def test_a_test_message_says_that_nothing_is_asked(shell: Shell, there: Counterpart, name: str) -> None:
    done = shell("channels", "test", name)
    assert (done.code, done.out) == (0, "")
    assert f"the channel {name} took a test message" in done.err
    [got] = there.got
    assert name.encode() in got.body


def test_a_test_mail_arrives(tmp_path: Path, capsys: Any) -> None:
    shell = Shell(tmp_path / "mail", "http://127.0.0.1:1", capsys)
    with mail_server() as server:
        with shell.config.open("a") as f:
            f.write(
                f'[[channels]]\nname = "post"\nkind = "email"\nurl = "smtp://127.0.0.1:{server.port}"\n'
                'to = ["bo@example.com"]\nsender = "guard@example.com"\n'
            )
        assert shell("channels", "test", "post").code == 0
        text = message_from_bytes(server.mails[0], policy=default).get_content()
        assert "Nothing is asked of anybody" in text


def test_a_channel_that_does_not_take_it_says_why(shell: Shell, there: Counterpart) -> None:
    there.next = [Answer(body={"ok": False, "error": "not_in_channel"})]
    done = shell("channels", "test", "chat")
    assert done.code == 1
    assert "invite the app" in done.err


def test_what_is_not_there_or_lacks_something_is_said(shell: Shell) -> None:
    unknown = shell("channels", "test", "another")
    assert unknown.code == 2
    assert "configured: siem, floor, chat, lacking" in unknown.err
    assert "LLMGUARD_CHANNEL_LACKING_TOKEN" in shell("channels", "test", "lacking").err


def test_the_list_shows_no_secret(shell: Shell) -> None:
    done = shell("channels", "list")
    assert done.code == 0
    assert "nothing was sent yet" in done.out
    assert "not used: set LLMGUARD_CHANNEL_LACKING_TOKEN" in done.out
    everything = done.out + shell("channels", "list", "--json").out + shell("config").out
    for secret in (SECRET, BOT, "hidden"):
        assert secret not in everything


def test_doctor_says_which_channels_people_hear_nothing_from(shell: Shell) -> None:
    from llmguard.notify import deliveries
    from llmguard.notify.failure import Undelivered

    settings = load(shell.config)
    before = {v.name: v.level for v in examined(settings)}
    assert before == {"channel siem": "ok", "channel floor": "ok", "channel chat": "ok", "channel lacking": "problem"}
    desk = Desk(settings.data).staff()
    try:
        desk.hold()
        [hook] = [c for c in settings.channels if c.name == "siem"]
        desk.store.transact(lambda tx: deliveries.fan_out(tx, desk.vault, TENANT, [hook]))
        [sent] = desk.store.transact(lambda tx: deliveries.claim(tx, TENANT, "siem", "one"))
        desk.store.transact(lambda tx: deliveries.settle(tx, sent, "one", Undelivered("unreachable")))
    finally:
        desk.store.close()
    [verdict] = [v for v in examined(settings) if v.name == "channel siem"]
    assert verdict.level == "warning"
    assert "unreachable" in verdict.found
    [row] = [r for r in json.loads(shell("channels", "list", "--json").out) if r["name"] == "siem"]
    assert (row["failures"], row["waiting"]) == (1, 1)
