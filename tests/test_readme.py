"""What the README says about settings, routes and commands is so."""

import re
from pathlib import Path

import pytest

from tasks.settings import TABLE

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def table_rows() -> list[str]:
    """The settings table as it must stand in the README."""
    return [
        f"| `{variable.name}` | {f'`{variable.default}`' if variable.default else ''} | {variable.meaning} |"
        for variable in TABLE
    ]


def test_the_settings_table_is_the_programs_own() -> None:
    found = [line for line in README.splitlines() if re.match(r"\| `[A-Z0-9_]+` \|", line)]
    assert found == table_rows()


@pytest.mark.parametrize("word", ["make run", "make test", "email-service up", "email-service key add", "arq tasks.worker"])
def test_every_command_is_named(word: str) -> None:
    assert word in README


def test_no_line_is_wider_than_a_screen_but_in_tables() -> None:
    wide = [line for line in README.splitlines() if len(line) > 130 and not line.startswith("|")]
    assert wide == []
