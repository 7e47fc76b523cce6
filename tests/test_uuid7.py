"""Ids: UUID version 7, sorted roughly by time."""

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from service.uuid7 import uuid7


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_an_id_is_a_canonical_uuid_of_version_7_with_its_milliseconds(ms: int) -> None:
    text = uuid7(ms)
    found = uuid.UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == ms
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({uuid7(1_795_600_800_000) for _ in range(10_000)}) == 10_000


@given(st.integers(min_value=0, max_value=2**48 - 2))
def test_ids_of_later_milliseconds_sort_later(ms: int) -> None:
    assert uuid7(ms) < uuid7(ms + 1)


def test_a_clock_beyond_48_bits_still_gives_an_id() -> None:
    assert uuid.UUID(uuid7(2**48 + 5)).int >> 80 == 5


def test_all_random_bits_are_used() -> None:
    """74 bits besides time, version and variant; each is seen both ways in a few hundred ids."""
    ones = zeros = 0
    for _ in range(300):
        bits = uuid.UUID(uuid7(0)).int
        ones |= bits
        zeros |= ~bits
    both = ones & zeros & (2**128 - 1)
    assert both.bit_count() == 74
