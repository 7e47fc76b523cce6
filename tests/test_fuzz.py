"""The kept corpus of the fuzz targets, replayed: what has once led somewhere still breaks no promise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_no_promise(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 3
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.name}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.one_of(st.binary(max_size=200), st.lists(st.text(max_size=20), max_size=12).map(lambda parts: b"\xff".join(
    part.encode("utf-8", "surrogatepass") for part in parts))))  # fmt: skip
def test_any_bytes_break_no_promise(name: str, data: bytes) -> None:
    TARGETS[name](data)
