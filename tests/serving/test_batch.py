"""Files of instances, answered row by row by a real service over HTTP."""

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flightdeck.predictions import await_logged
from flightdeck.rollouts import predict as command
from flightdeck.settings import settings
from flightdeck.warehouse import query
from serving import batch
from serving.batch import BatchFailed, predict

COLUMNS = ["id", "carrier", "flight", "origin", "dest", "scheduled_departure", "tailnum", "distance", "temp", "visib"]
GOOD = ["a", "UA", "1545", "EWR", "IAH", "2015-04-01T05:15:00", "N14228", "1400", "39.02", "10"]
Deploy = Callable[[dict[str, Any]], int]


def quiet(*_: Any) -> None:
    """A progress that nobody looks at."""


@pytest.fixture
def version(release: Callable[..., Any], deployed: Deploy, look: Callable[[], None], address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> int:
    """What serves, where the command asks."""
    elsewhere = settings().model_copy(update={"port_serving": address[1]})
    monkeypatch.setattr(batch, "settings", lambda: elsewhere)
    found = deployed(release())
    look()
    return found


def written(path: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def changed(**values: str) -> list[str]:
    return [values.get(name, value) for name, value in zip(COLUMNS, GOOD, strict=True)]


def test_every_row_is_answered_in_order_with_its_columns(version: int, tmp_path: Path) -> None:
    rows = [changed(id=str(number), flight=str(number)) for number in range(1, 2501)]
    told = predict(written(tmp_path / "in.csv", rows), tmp_path / "out.csv", 1000, "probe", quiet)
    assert (told.answered, told.refused, told.versions, told.passed_on) == (2500, 0, {version}, ["id"])
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [answer["id"] for answer in answers] == [row[0] for row in rows]
    assert {answer["model_version"] for answer in answers} == {str(version)}
    identities = [answer["prediction_id"] for answer in answers]
    await_logged(identities)
    logged = query("select prediction_id::text as id, entity_id, probability, purpose from ops.predictions where prediction_id = any(%s::uuid[])", identities)
    of_id = {row["id"]: row for row in logged}
    for answer in answers:
        row = of_id[answer["prediction_id"]]
        assert row["entity_id"].endswith(f"/UA/{answer['flight']}")
        assert (row["probability"], row["purpose"]) == (pytest.approx(float(answer["probability"]), rel=1e-12), "probe")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.csv", "out.csv"]


def test_csv_and_parquet_are_answered_alike(version: int, tmp_path: Path) -> None:
    flights = [changed(flight=str(number), tailnum="" if number % 2 else "N14228", temp="" if number % 3 else "50") for number in range(1, 41)]
    typed = {
        name: [row[place] or None for row in flights]
        if name in ("id", "carrier", "origin", "dest", "tailnum")
        else [datetime.fromisoformat(row[place]) if name.startswith("scheduled") else float(row[place]) if row[place] else None for row in flights]
        for place, name in enumerate(COLUMNS)
    }
    pq.write_table(pa.table(typed), tmp_path / "in.parquet")
    predict(tmp_path / "in.parquet", tmp_path / "out.csv", 7, "probe", quiet)
    predict(written(tmp_path / "in.csv", flights), tmp_path / "out.parquet", 1000, "probe", quiet)
    one, other = pq.read_table(tmp_path / "out.parquet"), pyarrow.csv.read_csv(tmp_path / "out.csv")
    assert one["probability"].to_pylist() == other["probability"].to_pylist()
    assert len(set(one["probability"].to_pylist())) > 1
    assert one.schema.field("label").type == pa.bool_()


def test_refused_rows_are_told_with_their_reason_and_the_rest_flows_on(version: int, tmp_path: Path) -> None:
    rows = [GOOD, changed(flight="many"), changed(origin="BOS"), GOOD, changed(scheduled_departure="1800-01-01T00:00:00"), changed(carrier=""), GOOD]
    told = predict(written(tmp_path / "in.csv", rows), tmp_path / "out.parquet", 5, "probe", quiet)
    assert (told.answered, told.refused) == (3, 4)
    refused = list(csv.DictReader((tmp_path / "out.refused.csv").open()))
    assert [row["row"] for row in refused] == ["2", "3", "5", "6"]
    for row, said in zip(
        refused, ["flight: Expected `int`", "origin: Invalid enum value 'BOS'", "scheduled_departure: expected a year", "carrier: "], strict=True
    ):
        assert row["reason"].startswith(said), row
    assert refused[0]["flight"] == "many"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.txt", "a", "expected a name that ends in .csv or .parquet"),
        ("in.csv", "", "Empty CSV file"),
        ("in.csv", "carrier,flight\nUA,1\n", "lacks the column(s) origin, dest, scheduled_departure; it has carrier, flight"),
        ("in.csv", ",".join([*COLUMNS, "label"]) + "\n", "has the column(s) label already"),
        ("in.csv", ",".join(COLUMNS) + "\nUA,1\n", "Expected 10 columns, got 2"),
        ("in.parquet", "no parquet", "Parquet magic bytes not found"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_written(name: str, content: str, said: str, version: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BatchFailed) as error:
        predict(tmp_path / name, tmp_path / "out.csv", 10, "probe", quiet)
    assert said in str(error.value)
    assert name in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_the_command_ends_with_what_came_of_it(version: int, tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", [GOOD, changed(origin="BOS")])
    done = CliRunner().invoke(command, [str(source), str(tmp_path / "out.csv"), "--purpose", "probe"])
    assert done.exit_code == 1
    assert f"1 rows in {tmp_path / 'out.csv'}, by version {version}" in done.output
    assert "passed on as they are, for no field is called so: id" in done.output
    assert f"1 rows were refused: {tmp_path / 'out.refused.csv'} says why" in done.output


def test_a_service_that_does_not_answer_is_named(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = settings().model_copy(update={"port_serving": 1})
    monkeypatch.setattr(batch, "settings", lambda: nowhere)
    done = CliRunner().invoke(command, [str(written(tmp_path / "in.csv", [GOOD])), str(tmp_path / "out.csv")])
    assert done.exit_code == 1
    assert "is the stack up?" in done.output
    assert not (tmp_path / "out.csv").exists()
