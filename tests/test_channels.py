"""``[[channels]]``: what can be configured, and that no secret is in a file or on a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmguard.channels import Channel
from llmguard.config import load
from llmguard.errors import ConfigError

SLACK = {"name": "s", "kind": "slack", "conversation": "C0123456789", "team": "T0123456789"}
TEAMS = {"name": "t", "kind": "teams", "url": "https://prod.example/workflows/x?sig=y"}
HOOK = {"name": "h", "kind": "webhook", "url": "https://siem.example/in"}
MAIL = {"name": "m", "kind": "email", "url": "smtps://mail.example", "to": ["a@b.example"], "sender": "g@b.example"}


def test_tables_of_the_file_become_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUARD_CHANNEL_ON_CALL_TOKEN", "a bot's token")
    monkeypatch.setenv("LLMGUARD_CHANNEL_ON_CALL_SIGNING_SECRET", "a signing secret")
    monkeypatch.setenv("LLMGUARD_CHANNEL_FLOOR_URL", "https://prod.example/x?sig=secret")
    path = tmp_path / "config.toml"
    path.write_text(
        '[[channels]]\nname = "on-call"\nkind = "slack"\nconversation = "C0123456789"\nteam = "T0123456789"\n'
        'groups = ["reviewers"]\nmin_risk = 40\n[[channels]]\nname = "floor"\nkind = "teams"\n'
    )
    slack, teams = load(path).channels
    assert (slack.token, slack.signing_secret, slack.missing) == ("a bot's token", "a signing secret", ())
    assert slack.address == "https://slack.com/api/"
    assert slack.hears == {"pending", "reminder", "escalated", "break_glass"}
    assert teams.address.endswith("sig=secret")
    for secret in ("token", "secret"):
        assert secret not in repr((slack, teams)).replace("signing_secret", "")


@pytest.mark.parametrize("table", [SLACK, TEAMS, HOOK, MAIL], ids=lambda t: t["kind"])
def test_each_kind_can_be_configured(table: dict[str, Any]) -> None:
    Channel.of(table)


def test_what_it_lacks_is_named() -> None:
    assert Channel.of(SLACK).missing == ("LLMGUARD_CHANNEL_S_TOKEN", "LLMGUARD_CHANNEL_S_SIGNING_SECRET")
    assert Channel.of({**SLACK, "socket": True}).missing == ("LLMGUARD_CHANNEL_S_TOKEN", "LLMGUARD_CHANNEL_S_APP_TOKEN")
    assert Channel.of({"name": "t", "kind": "teams"}).missing == ("LLMGUARD_CHANNEL_T_URL",)
    assert Channel.of(HOOK).missing == ("LLMGUARD_CHANNEL_H_TOKEN",)
    assert Channel.of(MAIL).missing == ()
    assert Channel.of({**MAIL, "user": "u"}).missing == ("LLMGUARD_CHANNEL_M_TOKEN",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({**HOOK, "name": "Upper"}, "a name has"),
        ({**HOOK, "name": "a_b"}, "a name has"),
        ({**HOOK, "name": 1}, "must be text"),
        ({**HOOK, "kind": "pager"}, "kind is one of"),
        ({**HOOK, "colour": "red"}, "a table has name and kind"),
        ({"kind": "teams"}, "a table has name and kind"),
        ("x", "a table has name and kind"),
        ({**HOOK, "token": "in a file"}, "a table has name and kind"),
        ({**HOOK, "events": ["opened"]}, "no event 'opened'"),
        ({**HOOK, "events": "pending"}, "a list"),
        ({**HOOK, "groups": ["g"] * 65}, "a list"),
        ({**HOOK, "min_risk": 101}, "from 0 to 100"),
        ({**HOOK, "min_risk": True}, "a whole number"),
        ({**HOOK, "notify_only_above": -1}, "from 0 to 100"),
        ({**HOOK, "excerpts": "yes"}, "true or false"),
        ({**HOOK, "url": "http://siem.example/in"}, "url is https"),
        ({**HOOK, "url": "http://127.0.0.1.evil.example/"}, "url is https"),
        ({**HOOK, "url": "https://u:p@siem.example/"}, "without credentials"),
        ({**HOOK, "url": "https:///x"}, "url is https"),
        ({**HOOK, "url": "https://x:0/"}, "url is https"),
        ({**HOOK, "url": "https://x/\r\nHost: y"}, "url is https"),
        ({**HOOK, "url": "https://x/a b"}, "url is https"),
        ({**HOOK, "url": "https://x:99999/"}, "url is no address"),
        ({**HOOK, "url": "file:///etc/passwd"}, "url is https"),
        ({**MAIL, "url": "https://mail.example"}, "url is smtps"),
        ({**MAIL, "to": []}, "are addresses"),
        ({**MAIL, "to": ["a@b.example\nBcc: eve@evil.example"]}, "are addresses"),
        ({**MAIL, "to": ["a@b.example, eve@evil.example"]}, "are addresses"),
        ({**MAIL, "sender": "Guard <g@b.example>"}, "are addresses"),
        ({**HOOK, "to": ["a@b.example"]}, "are for slack"),
        ({**MAIL, "team": "T0123456789"}, "are for slack"),
        ({**SLACK, "conversation": "#general"}, "are ids of Slack"),
        ({**SLACK, "team": ""}, "are ids of Slack"),
        ({**SLACK, "url": "https://slack.example/api"}, "ends in a slash"),
        ({**HOOK, "quiet": "22-7"}, "quiet is a span"),
        ({**HOOK, "quiet": "22:00-24:00"}, "quiet is a span"),
        ({**HOOK, "quiet": "22:00-22:00"}, "quiet is a span"),
        ({**HOOK, "timezone": "Mars/Olympus"}, "IANA"),
        ({**HOOK, "timezone": "../../etc/passwd"}, "IANA"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(table: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Channel.of(table)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        load(channels=[HOOK, {**TEAMS, "name": "h"}])
