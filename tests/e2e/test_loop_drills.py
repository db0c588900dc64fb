"""Each drill on the running stack, by its command: the platform's own reaction, how long it took, and that nothing is left of it."""

import pytest

from flightdeck import deployments
from flightdeck.impostors import VERSIONS
from flightdeck.warehouse import query
from tests.e2e.test_loop import content, flightdeck

# what a drill leaves behind: its moves and its requests
LEFT = {"deployments", "predictions"}


@pytest.fixture(scope="module")
def months(platform: None) -> None:
    done = flightdeck("replay", "--skip-published", "2013-01..2013-03")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bad-model", "from the champion's to the same rows"),
        ("slow-model", "a row takes it"),
        ("tampered-model", "the stored file has sha256"),
        ("drift", "LiveInputsDrift is raised"),
        ("late-labels", "0% of the labels; performance: nothing was asked, or no label is known yet"),
        ("registry-down", "from the service's own disk"),
    ],
)
def test_the_platform_reacts_by_itself_and_everything_is_put_back(months: None, name: str, said: str) -> None:
    before, champion = content(), deployments.champion()
    done = flightdeck("drill", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    assert f"{name}: the platform reacted after" in done.stdout
    after = content()
    assert {what for what in before if before[what] != after[what]} <= LEFT
    assert deployments.champion() == champion
    if name in VERSIONS:
        given = query("select count(*) as n from ops.predictions where model_version = %s and purpose <> 'shadow'", VERSIONS[name])
        assert given == [{"n": 0}]
        assert query("select state from ops.deployments where model_version = %s order by id desc limit 1", VERSIONS[name]) == [{"state": "retired"}]


def test_back_and_forth_by_command(months: None) -> None:
    now = deployments.champion()
    assert now
    for options in ([], ["--to", str(now["model_version"]), "--reason", "it was right"]):
        done = flightdeck("rollback", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "in every worker" in done.stdout
    assert query("select model_version, reasons from ops.deployments order by id desc limit 1") == [
        {"model_version": now["model_version"], "reasons": ["roll back: it was right"]}
    ]
    done = flightdeck("rollback", "--to", "999")
    assert (done.returncode, "version 999 has never served" in done.stderr) == (1, True)
