"""Moments as clients write them: ISO 8601 with an offset, at most a year ahead, to the millisecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.moments import FAR_MS, iso, read_moment

NOW = 1_795_600_800_000  # 2026-11-25T10:00:00Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-25T10:00:00Z", NOW),
        ("2026-11-25T10:00:00.000Z", NOW),
        ("2026-11-25T10:00:00+00:00", NOW),
        ("2026-11-25T12:00:00+02:00", NOW),
        ("2026-11-25T04:30:00-05:30", NOW),
        ("2026-11-25 10:00:00Z", NOW),
        ("20261125T100000Z", NOW),
        ("2026-11-25T10:00Z", NOW),
        ("2026-11-25T10:00:00.123Z", NOW + 123),
        ("2026-11-25T10:00:00.123456Z", NOW + 123),
        ("2026-11-25T10:00:00,5Z", NOW + 500),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("1999-12-31T23:59:59Z", 946_684_799_000),
    ],
)
def test_a_moment_with_an_offset_is_read_to_the_millisecond(text: str, ms: int) -> None:
    assert read_moment(text, NOW) == ms


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "in 5 minutes", "tomorrow", "1795600800", "2026-11-25T10:00:00Z\n", " 2026-11-25T10:00:00Z",
        "2026-13-25T10:00:00Z", "2026-02-30T10:00:00Z", "2026-11-25T24:00:01Z", "2026-11-25T10:00:60Z",
        "2026-11-25T10:00:00 UTC", "Wed, 25 Nov 2026 10:00:00 +0000", "2026-11-25T10:00:00+25:00", "\0", "٢٠٢٦-11-25T10:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a moment such as 2026-11-25T10:00:00Z\Z"):
        read_moment(text, NOW)


@pytest.mark.parametrize("text", ["2026-11-25T10:00:00", "2026-11-25", "20261125"])
def test_a_moment_without_an_offset_could_mean_anything(text: str) -> None:
    with pytest.raises(ValueError, match="must say its offset from UTC"):
        read_moment(text, NOW)


def test_a_year_ahead_is_the_limit() -> None:
    assert read_moment("2027-11-26T10:00:00Z", NOW) == NOW + FAR_MS
    with pytest.raises(ValueError, match="within a year"):
        read_moment("2027-11-26T10:00:00.001Z", NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_are_refused_like_any_other_far_moment(text: str) -> None:
    with pytest.raises(ValueError, match="within a year"):
        read_moment(text, NOW)


@given(st.text(max_size=40) | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d|Z)\Z"))
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    found = said(text)
    assert isinstance(found, int) or found.startswith("must ")


def said(text: str) -> int | str:
    try:
        return read_moment(text, NOW)
    except ValueError as error:
        return str(error)


@given(st.integers(min_value=0, max_value=NOW + FAR_MS))
def test_what_is_shown_is_read_back_as_the_same_moment(ms: int) -> None:
    shown = iso(ms)
    assert shown is not None
    assert len(shown) == len("2026-11-25T10:00:00.000Z")
    assert read_moment(shown, NOW) == ms


def test_no_moment_is_shown_as_none() -> None:
    assert iso(None) is None
    assert iso(NOW) == "2026-11-25T10:00:00.000Z"
