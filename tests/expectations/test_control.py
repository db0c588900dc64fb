"""Control limits by hand-computed numbers: what they are, and what they flag."""

from datetime import date
from itertools import pairwise
from typing import Any

import pytest

from expectations.control import ControlError, Days, Rule, configuration, day_limits, judge, partition_limits, rule
from expectations.profile import Profile

NONE = Rule()
# the share of late arrivals of each month of 2013
LATE = [0.252, 0.279, 0.261, 0.307, 0.245, 0.344, 0.348, 0.261, 0.155, 0.183, 0.190, 0.362]
MONDAY = date(2013, 1, 7).toordinal()
FORTNIGHT, WEEKS = Days(weeks=2, least=2, trim=0.0, reach=1.0), Days(weeks=8, least=4, trim=0.05, reach=1.5)


def _last(values: list[float], level: float = 1, its: Rule = NONE, least: int = 4) -> tuple[float, float] | None:
    return partition_limits(values, least, level, its)[-1]


def test_limits_are_shewhart_s_for_single_values() -> None:
    # moving ranges 2, 1, 2: mean 5/3; median of the four 11.5
    assert _last([10, 12, 11, 13, 0]) == pytest.approx((13 - 3.267 * 5 / 3, 11.5 + 2.66 * 5 / 3))
    assert _last([10, 12, 11, 13, 0], level=2) == pytest.approx((13 - 3.267 * 5 / 3, 13 + 3.267 * 5 / 3))


def test_too_short_a_history_gives_no_limits() -> None:
    assert partition_limits([10, 12, 11, 1000, 11], 4, 1, NONE)[:4] == [None] * 4
    assert partition_limits([], 4, 1, NONE) == []


def test_a_jump_within_the_usual_level_is_unusual() -> None:
    limits = _last(LATE)
    moves = [abs(after - before) for before, after in pairwise(LATE[:-1])]
    mean = sum(moves) / len(moves)
    assert limits is not None
    assert limits[1] < LATE[-1]
    assert LATE[-1] < 0.261 + 2.66 * mean
    assert limits[1] == pytest.approx(0.190 + 3.267 * mean)


def test_no_other_month_s_share_of_late_arrivals_is_unusual() -> None:
    limits = partition_limits(LATE, 4, 2, Rule(absolute=0.02))
    assert [number for number, found in enumerate(limits) if found and not found[0] <= LATE[number] <= found[1]] == [11]


def test_the_return_from_a_single_outlier_is_usual_and_limits_stay_narrow() -> None:
    limits = partition_limits([10, 11, 10, 11, 10, 500, 10, 11], 4, 2, NONE)
    # four moves of 1; then one that counts as 3.267 only; then one of 0, from the last usual value
    assert limits[5] == pytest.approx((10 - 3.267, 10 + 3.267))
    mean = (4 + 3.267) / 5
    assert limits[6] == pytest.approx((10 - 3.267 * mean, 10.5 + 5.32 * mean))
    mean = (4 + 3.267 + 0) / 6
    assert limits[7] == pytest.approx((10 - 3.267 * mean, 10 + 3.267 * mean))


def test_a_new_level_is_unusual_until_it_is_the_usual_one() -> None:
    values = [10.0, 11, 10, 11, 10, *[30.0, 31] * 5]
    limits = partition_limits(values, 4, 2, NONE)
    unusual = [number for number, found in enumerate(limits) if found and not found[0] <= values[number] <= found[1]]
    # from the twelfth on, most of what was before is of the new level
    assert unusual == [5, 6, 7, 8, 9, 10]


def test_what_never_moved_is_unusual_only_beyond_its_floor() -> None:
    assert _last([0, 0, 0, 0, 9], its=Rule(absolute=0.02)) == pytest.approx((-0.02, 0.02))
    assert _last([200, 200, 200, 200, 9], its=Rule(relative=0.05)) == pytest.approx((190, 210))


def test_a_rule_can_widen_the_limits() -> None:
    assert _last([10, 12, 11, 13, 0], level=2, its=Rule(widen=2)) == pytest.approx((13 - 2 * 3.267 * 5 / 3, 13 + 2 * 3.267 * 5 / 3))


def test_no_later_value_changes_a_limit() -> None:
    assert partition_limits([*LATE, 9.0, 0.0], 4, 2, NONE)[:12] == partition_limits(LATE, 4, 2, NONE)


def test_a_day_is_judged_by_its_weekday() -> None:
    # Mondays 100 and 104, all other days 50: the Mondays are 2 from their median of 102, the others 0
    values = {MONDAY + number: 50.0 for number in range(14)} | {MONDAY: 100.0, MONDAY + 7: 104.0}
    assert day_limits(values, MONDAY + 14, NONE, FORTNIGHT) == pytest.approx((102 - 2 - 4, 102 + 2 + 4))
    # of the last Mondays only 104 is left, from which no day was away
    assert day_limits(values, MONDAY + 15, NONE, FORTNIGHT) == (50, 50)
    assert day_limits(values, MONDAY + 21, NONE, FORTNIGHT) is None
    # 104 and 102 are 1 from their median
    assert day_limits(values | {MONDAY + 14: 102.0}, MONDAY + 15, NONE, FORTNIGHT) == pytest.approx((50 - 1 - 2, 50 + 1 + 2))


def test_the_day_itself_and_later_days_do_not_judge_it() -> None:
    values = {MONDAY + number: 50.0 + number % 3 for number in range(28)}
    later = values | {MONDAY + number: 900.0 for number in range(21, 28)}
    assert day_limits(values, MONDAY + 21, NONE, FORTNIGHT) == day_limits(later, MONDAY + 21, NONE, FORTNIGHT)


def test_a_metric_that_is_zero_on_most_days_is_not_unusual_whenever_it_is_not() -> None:
    # rain on a fifth of the days: no deviation around the median, but a spread
    values = {MONDAY + number: float(number % 5 == 0) for number in range(56)}
    limits = day_limits(values, MONDAY + 56, NONE, WEEKS)
    assert limits == pytest.approx((-1.5, 2.5))


def test_single_outliers_do_not_widen_a_day_s_limits() -> None:
    values = {MONDAY + number: 10.0 + number // 7 % 2 for number in range(56)}
    assert day_limits(values, MONDAY + 56, NONE, WEEKS) == pytest.approx((10.5 - 0.5 - 1.5, 10.5 + 0.5 + 1.5))
    # its weekday has 11 as median now, and three that are 1 below it; the outlier itself is trimmed
    assert day_limits(values | {MONDAY + 30: 1048.0}, MONDAY + 56, NONE, WEEKS) == pytest.approx((10.5 - 1 - 1.5 * 1.5, 10.5 + 0.5 + 1.5 * 1.5))


def _profiles(values: list[float]) -> dict[str, Profile]:
    profiles = {}
    for month, value in enumerate(values, 1):
        profiles[f"2013-{month:02}"] = Profile({"rows": value})
    return profiles


SETTLED: dict[str, Any] = {"partitions": {"least": 4, "level": 2}, "days": {"weeks": 8, "least": 4, "trim": 0.05, "reach": 1.5}, "metrics": {}}


def test_only_the_partition_asked_for_is_judged_by_all_before_it() -> None:
    (judged,) = judge("a.b", _profiles([10, 12, 11, 13, 30]), SETTLED, "2013-05")
    assert (judged.key, judged.value) == ("2013-05", 30)
    # limits 13 - 5.445 to 13 + 5.445
    assert judged.excess == pytest.approx((30 - 18.445) / 10.89)
    assert [one.excess > 0 for one in judge("a.b", _profiles([10, 12, 11, 13, 30]), SETTLED)] == [False] * 4 + [True]


def test_limits_of_a_count_are_not_below_zero() -> None:
    assert [one.low for one in judge("a.b", _profiles([1, 9, 1, 9, 1]), SETTLED)][-1] == 0.0


def test_a_history_can_begin_anew() -> None:
    since = SETTLED | {"metrics": {"a.b/rows": {"since": "2013-05"}}}
    assert [one.key for one in judge("a.b", _profiles([10, 12, 11, 13, 30]), since)] == ["2013-05"]
    assert judge("a.b", _profiles([10, 12, 11, 13, 30]), since)[0].low is None


def test_the_first_pattern_that_fits_counts() -> None:
    patterns: dict[str, dict[str, Any]] = {"a.b/rows": {"then": "stop"}, "*/rows": {"absolute": 3}, "*": {"widen": 2}}
    assert rule("a.b", "rows", patterns) == Rule(then="stop")
    assert rule("c.d", "rows", patterns) == Rule(absolute=3)
    assert rule("c.d", "mean:x", patterns) == Rule(widen=2)
    assert rule("c.d", "mean:x", {}) == Rule()


@pytest.mark.parametrize(("found", "named"), [({"than": "stop"}, "than"), ({"then": "halt"}, "'halt'; it can be warn or stop")])
def test_a_rule_that_cannot_be_followed_is_named(found: dict[str, Any], named: str) -> None:
    with pytest.raises(ControlError, match=rf"control\.yml, metrics, '\*': .*{named}"):
        rule("a.b", "rows", {"*": found})


def test_the_rules_of_this_repository_warn_and_can_be_followed() -> None:
    patterns = configuration()["metrics"]
    assert len(patterns) > 5
    assert {rule("a.b", pattern.removeprefix("*/").replace("*", "x"), patterns).then for pattern in patterns} == {"warn"}
