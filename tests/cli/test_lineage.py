"""``llmguard lineage``: from a job to the people who approved what it learns from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from llmguard.cli.client import Credentials, write_credentials
from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes
from tests.desks import BO, CY, Shell
from tests.training import CARD, COUNT, living


@pytest.fixture
def told(
    settings: Settings, upstream: EchoUpstream, fakes: Fakes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    with living(settings, upstream, fakes) as life:
        shell = Shell(tmp_path / "bo", life.url, capsys)
        write_credentials(shell.credentials, Credentials(life.url, BO, life.session(BO), 0))
        yield life, shell


def test_a_file_leads_to_its_report_its_decisions_and_its_approvers(told: Any) -> None:
    life, shell = told
    after = life.get(f"/approvals/{life.decide(life.held(), r1='drop', r4='keep').json()['id']}", CY)
    life.vote(after, CY)
    file = life.upload()
    ran = shell("lineage", file.id)
    assert ran.code == 0
    for said in (
        f"file {file.id}",
        f"{COUNT // 3} CREDIT_CARD",
        f"records  {COUNT}; 1 kept as written, 1 dropped",
        f"{CY} approved",
        f"2, in place of {after['revises']}",
        "log  entries ",
    ):
        assert said in ran.out, said
    assert not [value for value in (*life.mails, CARD) if value in ran.out]
    plain = json.loads(shell("lineage", after["id"], "--format", "json").out)
    assert [step["id"] for step in plain["steps"]] == [file.id]


def test_a_job_on_a_file_that_did_not_pass_says_so(told: Any) -> None:
    life, shell = told
    with pytest.raises(openai.ConflictError) as refused:
        life.client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-of-somebody")
    ran = shell("lineage", refused.value.body["approval_id"])  # type: ignore[index]
    assert (ran.code, "PENDING" in ran.out, "unknown_file" in ran.out) == (0, True, True)
    unknown = shell("lineage", "file-of-somebody")
    assert (unknown.code, "no such file, job, batch or approval passed" in unknown.err) == (1, True)
