"""Bad input and its right answer: each row of the table against the real processes (``python -m tests.inputs`` prints it)."""

import asyncio

import pytest

from tests.inputs.__main__ import CASES, SLOW, run
from tests.inputs.probe import Case

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

KINDS = {
    "header injection", "encoded-word smuggling", "header names", "reserved headers", "structured headers", "display names",
    "control characters", "bidi overrides", "spaces", "bodies", "boundary", "MIME type", "base64", "filenames", "addresses",
    "IDN", "non-ASCII local part", "sender", "recipients", "JSON", "content type", "content encoding", "size", "HTTP",
    "slow clients", "brute force, flooding", "pages", "logs", "log viewer", "actions", "pickle", "other clients' mail",
    "secrets", "idempotency",
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[Case, str]:
    """What came back for every case; they run once, in order."""
    return asyncio.run(run(CASES, SLOW))


@pytest.mark.parametrize("case", [*CASES, *SLOW], ids=str)
def test_bad_input_gets_its_right_answer(found: dict[Case, str], case: Case) -> None:
    assert found[case] == case.expected


def test_every_kind_has_its_cases() -> None:
    assert {case.kind for case in (*CASES, *SLOW)} == KINDS
