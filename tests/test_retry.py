"""When to try again, in numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retry import GREYLISTED_SECONDS, UNCERTAIN_SECONDS, next_delay, uncertain_delay
from tasks.settings import TABLE
from tasks.values import seconds

DELAYS = tuple(
    seconds(part) for variable in TABLE if variable.name == "RETRY_DELAYS" for part in (variable.default or "").split(",")
)
FIVE_DAYS = 5 * 86400.0
MIDDLE = 0.5


def delay(attempts: int, life: float = FIVE_DAYS, *, dice: float = MIDDLE, not_before: float = 0) -> float:
    return next_delay(DELAYS, attempts, life, dice=dice, not_before=not_before)


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [
        (1, 1),
        (2, 2),
        (3, 5),
        (4, 10),
        (5, 20),
        (6, 30),
        (7, 60),
        (8, 60),
        (9, 120),
        (10, 120),
        (11, 240),
        (12, 240),
        (500, 240),
    ],
)
def test_the_schedule_is_followed_and_its_last_entry_repeats(attempts: int, minutes: int) -> None:
    assert delay(attempts) == minutes * 60


def test_a_short_life_squeezes_the_schedule() -> None:
    """A reset link of 15 minutes: 5 s, 15 s, 45 s, 2 m, then as scheduled."""
    assert [delay(attempts, 900) for attempts in range(1, 6)] == [5, 15, 45, 135, 405]


@pytest.mark.parametrize("dice", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_dice_spread_a_delay_over_twenty_percent(dice: float) -> None:
    assert delay(3, dice=dice) == pytest.approx(300 * (0.8 + 0.4 * dice))


def test_a_greylisting_relay_gets_the_time_it_asks_for() -> None:
    assert delay(1, not_before=GREYLISTED_SECONDS) == GREYLISTED_SECONDS
    assert delay(6, not_before=GREYLISTED_SECONDS) == 1800  # later anyway


def test_what_the_relay_asks_for_never_takes_more_than_a_third_of_the_life() -> None:
    assert delay(1, 600, not_before=GREYLISTED_SECONDS) == 200


@given(
    st.integers(1, 10_000), st.floats(0, 1e7, allow_subnormal=False), st.floats(0, 1), st.floats(0, 1e6),
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=12),
)  # fmt: skip
def test_a_delay_is_never_negative_nor_above_what_was_planned(
    attempts: int, life: float, dice: float, not_before: float, delays: list[float]
) -> None:
    found = next_delay(delays, attempts, life, dice=dice, not_before=not_before)
    assert 0 <= found <= max(max(delays) * 1.2 + 1e-6, not_before)


@pytest.mark.parametrize(
    ("remaining", "wait"), [(FIVE_DAYS, UNCERTAIN_SECONDS), (4500, 900), (4000, 800), (60, 12), (1, 0.2), (0, 0), (-5, 0)]
)
def test_after_a_lost_answer_a_quarter_of_an_hour_or_a_fifth_of_what_is_left(remaining: float, wait: float) -> None:
    assert uncertain_delay(remaining) == pytest.approx(wait)
