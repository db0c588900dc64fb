"""Column lineage from the project's own files: it is what dbt itself would have, and it says what is made of what."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from flightdeck import transform
from flightdeck.settings import ROOT
from governance.lineage import PROJECT, Graph, UnknownDataset, graph, read
from governance.project import Model, Project, UnreadableModel


@pytest.fixture(scope="module")
def lineage() -> Graph:
    return read(ROOT / PROJECT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / PROJECT, tmp_path / PROJECT))


def test_it_is_dbt_s_own(database: str, lineage: Graph) -> None:
    """Names, dependencies, and the columns' origins, which are those of the SQL that dbt compiles."""
    manifest = transform._parsed()
    names = {key: f"{node.schema}.{node.alias if hasattr(node, 'alias') else node.name}" for key, node in (manifest.nodes | manifest.sources).items()}
    compiled = {node.node.name: node.node.compiled_code for node in transform.run("compile", "--full-refresh") if node.node.resource_type == "model"}
    models = {key: node for key, node in manifest.nodes.items() if node.resource_type == "model"}
    assert {names[key] for key in models} == {each.name for each in lineage.datasets.values() if each.kind == "model"}
    assert set(compiled) == {node.name for node in models.values()}
    project = Project(ROOT / PROJECT)
    for key, node in models.items():
        dataset = lineage.datasets[names[key]]
        # dbt parses a model as if it were built for the first time; what it reads later on is of interest, too
        later = {"marts.route_history": {"ops.published"}}.get(dataset.name, set())
        assert {names[each] for each in node.depends_on.nodes} | later == set(dataset.upstream), dataset.name
        project.models[node.name] = Model(compiled[node.name].replace('"warehouse".', ""), {})
        known = {each: list(lineage.datasets[each].columns) for each in dataset.upstream}
        assert project.origins(dataset.name, known) == {name: column.origins for name, column in dataset.columns.items()}, dataset.name


def test_columns_are_those_of_the_contracts(lineage: Graph) -> None:
    for path in (ROOT / PROJECT / "models/marts").glob("*.yml"):
        for model in yaml.safe_load(path.read_text())["models"]:
            assert list(lineage.datasets[f"marts.{model['name']}"].columns) == [column["name"] for column in model["columns"]]


@pytest.mark.parametrize(
    ("column", "sources"),
    [
        ("marts.features.temp", {"raw.weather.temp"}),
        ("marts.features.plane_built", {"raw.planes.year"}),
        ("marts.features.route_air_time", {"raw.flights.air_time"}),
        ("marts.features.planned_clock_minutes", {"raw.timetable.hour", "raw.timetable.minute", "raw.timetable.sched_arr_time"}),
        ("marts.labels.label", {"raw.flights.arr_delay"}),
        ("marts.features.history_key", {"ops.published.partition_key"}),
    ],
)
def test_a_column_goes_back_to_its_sources(lineage: Graph, column: str, sources: set[str]) -> None:
    found = lineage.made_from(column)
    assert {each for each in found if each.startswith(("raw.", "ops."))} == sources
    assert all(column in lineage.columns_from(each) for each in sources)


def test_what_a_partition_hands_on(lineage: Graph) -> None:
    carried = {name: each.carried for name, each in lineage.datasets.items() if each.carried}
    assert carried == {"marts.route_history": "all", "staging.stg_stations__weather_last_day": "next"}


def test_an_unknown_name_has_near_matches(lineage: Graph) -> None:
    with pytest.raises(UnknownDataset, match=r"raw\.weather"):
        lineage.find("raw.wether")
    with pytest.raises(UnknownDataset, match=r"marts\.labels\.label"):
        lineage.find("marts.labels.lable")


def test_a_broken_model_is_named(project: Path) -> None:
    (project / "models/marts/labels.sql").write_text("select from where {{ ref('nothing') }}")
    with pytest.raises(UnreadableModel, match=r"labels\.sql: KeyError"):
        read(project)
    (project / "models/marts/labels.sql").write_text("select ) from {{ ref('features') }}")
    with pytest.raises(UnreadableModel, match=r"marts\.labels"):
        read(project)


def test_what_was_read_is_kept_until_a_file_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Any) -> Graph:
        raise AssertionError("read again")

    graph.cache_clear()
    first = graph()
    graph.cache_clear()
    monkeypatch.setattr("governance.lineage.read", refused)
    assert graph() == first
    graph.cache_clear()
