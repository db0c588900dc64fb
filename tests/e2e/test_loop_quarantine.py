"""The year's impossible wind, repaired by a rule and replayed through the running stack; then without the rule, and all is as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flightdeck.replay import settle
from flightdeck.settings import ROOT
from flightdeck.warehouse import query
from tests.e2e.test_loop import content, flightdeck

KEY, PLACE = "2013-02", "2013-02-12T08:00:00Z/EWR"
# Airflow's tasks read the rules where they are kept
RULE = ROOT / "expectations/repairs/lost-point.yml"
TEXT = """
table: weather
expectation: expect_column_values_to_be_between:wind_speed
where: wind_speed > 1000
set: {wind_speed: wind_speed / 100}
reason: the station's decimal point was lost
by: weather service
"""
FEATURES = """
select count(*) as n from marts.features f join raw.flights r using (entity_id)
where r.partition_key = %s and r.origin = 'EWR' and f.wind_speed between 10.48 and 10.49"""


@pytest.fixture(scope="module")
def months(platform: None) -> None:
    """Two months, the second of them as its sources are now: another test may have had them corrected, and healed."""
    for arguments in (("--skip-published", "2013-01..2013-02"), (KEY,)):
        done = flightdeck("replay", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        settle([KEY], lambda _: None)


@pytest.fixture
def rule(months: None) -> Iterator[Path]:
    RULE.write_text(TEXT)
    yield RULE
    RULE.unlink(missing_ok=True)


def _raw() -> list[float]:
    return [row["wind_speed"] for row in query("select wind_speed from raw.weather where time_hour = '2013-02-12T08:00:00Z' and origin = 'EWR'")]


def _states() -> list[str]:
    return [row["state"] for row in query("select state from quarantine.rows where partition_key = %s", KEY)]


def test_a_repaired_row_goes_through_the_loop_and_is_held_again_without_its_rule(rule: Path) -> None:
    before, predictions = content(), query("select count(*) as n from ops.predictions")
    assert (_states(), _raw()) == (["held"], [])
    assert "wind_speed 1048.36058" in flightdeck("quarantine", "list").stdout
    assert "would be repaired" in flightdeck("quarantine", "repair", "--dry-run").stdout
    assert flightdeck("quarantine", "repair").returncode == 0
    done = flightdeck("quarantine", "replay")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"weather {KEY} {PLACE}  replayed: by lost-point"
    assert (_states(), _raw()) == (["replayed"], [pytest.approx(10.4836058)])
    assert query(FEATURES, KEY)[0]["n"] >= 1
    once = content()
    assert "replayed by lost-point" in flightdeck("quarantine", "list").stdout
    assert {name for name in before if before[name] != once[name]} == {"raw.weather", "quarantine", "features"}
    assert flightdeck("quarantine", "replay").stdout.startswith("no row waits to be replayed")
    assert content() == once
    rule.unlink()
    settle([KEY], lambda _: None)
    assert flightdeck("replay", KEY).returncode == 0
    assert content() == before
    assert query("select count(*) as n from ops.predictions") == predictions


def test_a_row_whose_rule_was_taken_away_is_held_again_and_said_to_be(rule: Path) -> None:
    before = content()
    assert flightdeck("quarantine", "repair", "lost-point").returncode == 0
    rule.unlink()
    done = flightdeck("quarantine", "replay", "--partition", KEY)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"weather {KEY} {PLACE}  held: expect_column_values_to_be_between:wind_speed"
    assert content() == before
