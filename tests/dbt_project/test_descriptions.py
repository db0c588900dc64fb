"""What the project says of its relations is what they are: columns, types, owners, and when a source last arrived."""

from typing import Any

import pytest
import yaml

from flightdeck.contracts import contracts
from flightdeck.settings import ROOT
from flightdeck.transform import run
from flightdeck.warehouse import Row, query

MODELS = ROOT / "dbt_project/models"
SOURCES = {table["name"]: source | table for source in yaml.safe_load((MODELS / "staging/sources.yml").read_text())["sources"] for table in source["tables"]}
DESCRIBED: dict[str, dict[str, Any]] = {
    entry["name"]: entry for path in MODELS.rglob("*.yml") for entry in yaml.safe_load(path.read_text()).get("models", []) if path.parent.name != "batches"
}
TYPES = """
select column_name as name, data_type as type from information_schema.columns where table_schema = %s and table_name = %s order by ordinal_position"""


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_s_columns_are_listed_with_type_and_description(database: str, name: str) -> None:
    found = {row["name"]: row["type"] for row in query(TYPES, SOURCES[name]["schema"], name)}
    assert found
    assert {column["name"]: column["data_type"] for column in SOURCES[name]["columns"]} == found
    assert [column["name"] for column in SOURCES[name]["columns"] if not column["description"]] == []


def test_owners_are_those_of_the_contracts() -> None:
    owners = {name: source["config"]["meta"]["owner"] for name, source in SOURCES.items() if source["schema"] == "raw"}
    assert owners == {name: contract.owner for name, contract in contracts().items()}


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_column_of_a_model_is_described(database: str, name: str) -> None:
    rows = query(
        "select column_name as name from information_schema.columns where table_schema in ('staging', 'intermediate', 'marts') and table_name = %s", name
    )
    described = {column["name"]: column.get("description") for column in DESCRIBED[name].get("columns", [])}
    assert rows
    assert set(described) == {row["name"] for row in rows}
    assert all(described.values())
    assert DESCRIBED[name]["description"]


def test_every_model_is_described() -> None:
    assert set(DESCRIBED) == {path.stem for path in MODELS.rglob("*.sql") if path.parent.name != "batches"}


def test_freshness_says_when_a_source_last_arrived(real: Row) -> None:
    """By wall clock: what never arrived, or more than 40 days ago, is a warning."""
    recent = {
        row["stage"]: row["recent"]
        for row in query("select stage, max(at) > now() - interval '40 days' as recent from ops.ledger where state = 'published' group by 1")
    }
    expected = {name: "pass" if recent.get("timetable" if name == "timetable" else "ingest") else "warn" for name in contracts()}
    assert expected["flights"] == "pass"
    results = run("source", "freshness")
    assert {result.node.name: str(result.status) for result in results} == expected
