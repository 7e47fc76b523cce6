"""``make audit`` ends well only where every package was looked up: no answer is no good answer."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CASES = {
    "clean": ("echo 'No known vulnerabilities found'; exit 0", 0, "nothing known"),
    "vulnerable": ("echo 'Found 2 known vulnerabilities in 1 package'; exit 1", 1, "vulnerable packages"),
    "skipped": ("echo 'ERROR: Dependency not found on PyPI and could not be audited'; exit 1", 2, "NOT AUDITED"),
    "no network": ("echo 'ConnectionError: Failed to resolve' >&2; exit 1", 2, "NOT AUDITED"),
    "first list away": ('case "$*" in *osv*) exit 0;; esac; echo away; exit 1', 0, "nothing known"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_audit_comes_to(tmp_path: Path, name: str) -> None:
    script, code, words = CASES[name]
    tool = tmp_path / "bin" / "pip-audit"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    done = subprocess.run(
        ["sh", ".ci/audit", "requirements.txt"],
        cwd=ROOT, env={**os.environ, "AUDIT_VENV": str(tmp_path)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr


def test_every_package_must_be_found() -> None:
    assert "--strict" in (ROOT / ".ci" / "audit").read_text()
