"""What `make check` says of a change to the marts: who it breaks, what is not described, and what personal column reaches whom."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from flightdeck.settings import ROOT
from governance.consumers import PUBLISHED, problems, promised
from governance.lineage import PROJECT, read

MARTS = f"{PROJECT}/models/marts"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / PROJECT, tmp_path / PROJECT)
    return tmp_path


def change(root: Path, name: str, pattern: str, by: str) -> None:
    path = root / name
    text, number = re.subn(pattern, by, path.read_text(), count=1)
    assert number == 1
    path.write_text(text)


def test_nothing_is_wrong_with_this_checkout() -> None:
    assert problems() == []
    assert promised(read(ROOT / PROJECT)) == yaml.safe_load((ROOT / PUBLISHED).read_text())


def test_a_column_that_is_gone_breaks_its_readers_until_there_is_a_new_version(root: Path) -> None:
    change(root, f"{MARTS}/labels.yml", r" +- \{name: day, .*\n", "")
    change(root, f"{MARTS}/labels.sql", r",\n +local_day as day", "")
    (found,) = problems(root)
    assert found.startswith("marts.labels: column day is gone. That breaks late_arrival_model (model owners, model-owners@example.org), drift_reports (")
    assert "lake (analysts, analysts@example.org)" in found
    change(root, f"{MARTS}/labels.yml", "version: 1", "version: 2")
    (found,) = problems(root)
    assert found.startswith("marts.labels has changed since its contract was published")


def test_another_type_breaks_them_too(root: Path) -> None:
    change(root, f"{MARTS}/features.yml", r"name: leg, data_type: double precision", "name: leg, data_type: bigint")
    (found,) = problems(root)
    assert found.startswith("marts.features: column leg is bigint and was double precision. That breaks late_arrival_model")


def test_a_contract_that_is_not_enforced_any_more_is_a_break(root: Path) -> None:
    change(root, f"{MARTS}/route_history.yml", r"      contract: \{enforced: true\}\n", "")
    (found,) = problems(root)
    assert found.startswith("marts.route_history: it is gone, or its contract is not enforced any more. That breaks online_features (serving on-call")


def test_a_new_column_breaks_nobody_and_is_written_down(root: Path) -> None:
    change(root, f"{MARTS}/labels.yml", r"( +- \{name: day, .*\n)", r"\1      - {name: minutes, data_type: integer, description: Of delay.}" "\n")
    change(root, f"{MARTS}/labels.sql", "local_day as day", "local_day as day,\n        arrival_delay as minutes")
    (found,) = problems(root)
    assert found == "marts.labels has changed since its contract was published: `python -m governance.consumers --publish`"


@pytest.mark.parametrize(
    ("name", "pattern", "by", "said"),
    [
        ("marts/labels.yml", "owner: feature engineering, ", "", "marts.labels has no owner"),
        ("marts/features.yml", "(name: leg, data_type: double precision), description: .*}", r"\1}", "marts.features.leg has no desc"),
        ("marts/route_history.yml", "classification: internal, ", "", "marts.route_history.partition_key has no classification"),
        ("marts/labels.yml", "classification: internal", "classification: secret", "marts.labels.entity_id: classification 'secret' is none of public"),
    ],
)  # fmt: skip
def test_a_mart_says_what_it_is_and_whose(root: Path, name: str, pattern: str, by: str, said: str) -> None:
    change(root, f"{PROJECT}/models/{name}", pattern, by)
    assert problems(root)[0].startswith(said)


def personal(root: Path, column: str) -> None:
    change(
        root,
        f"{PROJECT}/models/staging/sources.yml",
        rf"\{{name: {column}, (.*?)\}}\n",
        rf"{{name: {column}, \1, config: {{meta: {{classification: personal}}}}}}" "\n",
    )


def test_a_personal_column_may_not_reach_a_feature_or_a_report(root: Path) -> None:
    """By the lineage: what is declared is the raw column, and what reads it has another name, two models on."""
    personal(root, "air_time")
    found = problems(root)
    assert [each.partition(" reads it")[0] for each in found] == [
        f"marts.features.route_air_time is personal (raw.flights.air_time), and {reader}" for reader in ("late_arrival_model (ml)", "drift_reports (analysis)")
    ]
    # who looks a row up for the one it is about may
    assert not any("online_features" in each for each in found)
    change(root, f"{MARTS}/features.yml", r"(\{name: route_air_time, .*)\}", r"\1, config: {meta: {classification: internal, declassified: a mean of many}}}")
    assert problems(root) == []


def test_a_personal_column_that_reaches_nobody_is_no_problem(root: Path) -> None:
    personal(root, "manufacturer")
    assert problems(root) == []
