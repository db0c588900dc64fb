"""The lake: whole files, read by the tools that people have, in a folder and on an S3 server. Keys are of years that no data have."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from moto.server import ThreadedMotoServer
from pyarrow import fs

from flightdeck import lake as module
from flightdeck import ledger
from flightdeck.cli import main
from flightdeck.lake import NotDelivered, deliver
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import Connection, connect, query

KEY, OTHER = "2027-01", "2027-02"
MARTS = {"features": 300, "labels": 300, "planned_departures": 300, "route_history": 2}
ROWS = [
    "insert into marts.features (entity_id, partition_key, temp, wind_gust)"
    " select 'e' || n, '{key}', nullif(n % 7, 0) / 3.0, 'NaN' from generate_series(300, 1, -1) n",
    "insert into marts.labels select 'e' || n, '{key}', n % 3 = 0, '2027-02-01 01:02:03.5-05'::timestamptz + n * interval '1 s', '2027-01-31'"
    " from generate_series(1, 300) n",
    "insert into marts.planned_departures (entity_id, partition_key, leg) select 'e' || n, '{key}', nullif(n % 5, 0) from generate_series(1, 300) n",
    "insert into marts.route_history values ('{key}', 'JFK', 'ORD', 7, 700), ('{key}', 'EWR', 'ORD', 5000000000, 3)",
]
KILLED = """
import os, signal, sys
from flightdeck import lake
moves, left = lake._replace, int(sys.argv[2])
def replace(*arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moves(*arguments)
lake._replace = replace
lake.deliver(sys.argv[1])
"""


def _fill(key: str) -> None:
    _clear(key)
    with connect() as connection:
        for statement in ROWS:
            connection.execute(statement.format(key=key).encode())
    ledger.begin("transform", key).record("published")


def _clear(key: str) -> None:
    with connect() as connection:
        for mart in MARTS:
            connection.execute(f"delete from marts.{mart} where partition_key = '{key}'".encode())
    if key in ledger.published():
        ledger.begin("transform", key).record("withdrawn")


@pytest.fixture
def partitions(database: str) -> Iterator[None]:
    for key in (KEY, OTHER):
        _fill(key)
    yield
    for key in (KEY, OTHER):
        _clear(key)


@pytest.fixture
def lake(partitions: None, tmp_path: Path, setenv: Callable[..., None]) -> Path:
    """An empty lake in a folder whose name has a blank, and two published partitions."""
    setenv(FLIGHTDECK_LAKE=str(tmp_path / "the lake"))
    return tmp_path / "the lake"


@pytest.fixture
def s3(partitions: None, setenv: Callable[..., None]) -> Iterator[Any]:
    """The same lake behind an S3 server on loopback, named by the variables that the tools themselves read; a client of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    access = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    setenv(AWS_ENDPOINT_URL=address, FLIGHTDECK_LAKE="s3://warehouse/marts", **access)
    client = boto3.client("s3")
    client.create_bucket(Bucket="warehouse")
    yield client
    server.stop()


def _manifest(lake: Path) -> dict[str, Any]:
    return json.loads((lake / "manifest.json").read_text())["marts"]  # type: ignore[no-any-return]


def _sums(lake: Path) -> dict[str, str]:
    return {path.relative_to(lake).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(lake.rglob("*.parquet"))}


def _promised(lake: Path) -> dict[str, str]:
    return {entry["path"]: entry["sha256"] for mart in _manifest(lake).values() for entry in mart["partitions"].values()}


def _labels() -> list[tuple[Any, ...]]:
    rows = query('select * from marts.labels where partition_key = any(%s) order by partition_key, entity_id collate "C"', [KEY, OTHER])
    return [(row["partition_key"], row["entity_id"], row["label"], row["known_at"], row["day"]) for row in rows]


def _by_duckdb(labels: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        rows = f"read_parquet('{labels}/*/*.parquet', hive_partitioning = true)"
        return connection.execute(f"select partition_key, entity_id, label, known_at, day from {rows} order by 1, 2").fetchall()


def _by_pandas(labels: str) -> list[tuple[Any, ...]]:
    frame = pd.read_parquet(labels).astype({"partition_key": str}).sort_values(["partition_key", "entity_id"])
    return list(frame[["partition_key", "entity_id", "label", "known_at", "day"]].itertuples(index=False, name=None))


def _by_pyarrow(labels: str) -> list[tuple[Any, ...]]:
    table = ds.dataset(labels, partitioning="hive").to_table().sort_by([("partition_key", "ascending"), ("entity_id", "ascending")])
    return [(row["partition_key"], row["entity_id"], row["label"], row["known_at"], row["day"]) for row in table.to_pylist()]


READERS = [_by_duckdb, _by_pandas, _by_pyarrow]


@pytest.mark.parametrize("read", READERS)
def test_readers_find_the_rows_of_the_warehouse_with_their_key(lake: Path, read: Callable[[str], list[tuple[Any, ...]]]) -> None:
    deliver(KEY)
    deliver(OTHER)
    expected = _labels()
    assert len(expected) == 600
    assert read(f"{lake}/labels") == expected


def test_a_reader_asks_for_one_partition_by_its_key(lake: Path) -> None:
    deliver(KEY)
    deliver(OTHER)
    sums = f"select sum(flights) from read_parquet('{lake}/route_history/*/*.parquet', hive_partitioning = true) where partition_key = '{KEY}'"
    assert duckdb.sql(sums).fetchall() == [(5_000_000_007,)]
    assert len(pd.read_parquet(lake / "features", filters=[("partition_key", "==", KEY)])) == 300


def test_types_and_missing_values_come_as_they_are(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a zone whose old times are off by seconds, and a date that only its own style reads
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    monkeypatch.setenv("PGDATESTYLE", "German")
    columns = "partition_key text, t text, v varchar(9), b bool, s smallint, i int, l bigint, r real, d double precision, day date, at timestamp, z timestamptz"
    with connect() as connection:
        connection.execute("drop table if exists marts.of_all_types")
        connection.execute(f"create table marts.of_all_types ({columns})".encode())
        late = "'1827-01-31', '1827-01-31 23:59:59.123456', '1827-01-31 23:59:59.123456Z'"
        connection.execute(f"insert into marts.of_all_types values ('{KEY}', '', 'NULL', true, -32768, 1, 9007199254740993, 0.1, 'NaN', {late})".encode())
        connection.execute(f"insert into marts.of_all_types values ('{KEY}', E'é,\"\\n\\nb', 'NaN', false, 1, 2, 3, 4, 0.1, {late})".encode())
        connection.execute(f"insert into marts.of_all_types values ('{KEY}')".encode())
        try:
            deliver(KEY)
        finally:
            connection.execute("drop table marts.of_all_types")
    table = pq.read_table(lake / f"of_all_types/partition_key={KEY}/data.parquet", partitioning=None)
    empty, text, missing = table.to_pylist()
    assert set(missing.values()) == {None}
    at = datetime(1827, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
    times = {"day": at.date(), "at": at.replace(tzinfo=None), "z": at}
    assert text == {"t": 'é,"\n\nb', "v": "NaN", "b": False, "s": 1, "i": 2, "l": 3, "r": 4.0, "d": 0.1} | times
    assert str(empty.pop("d")) == "nan"
    assert empty.pop("r") == pytest.approx(0.1)
    assert empty == {"t": "", "v": "NULL", "b": True, "s": -32768, "i": 1, "l": 9007199254740993} | times
    assert _manifest(lake)["of_all_types"]["columns"] == {"partition_key": "string"} | {field.name: str(field.type) for field in table.schema}


def test_long_texts_keep_their_line_breaks(lake: Path) -> None:
    """Together they are longer than what the CSV reader takes at once."""
    with connect() as connection:
        connection.execute("create table marts.of_texts (partition_key text, t text)")
        connection.execute("insert into marts.of_texts select %s, n || repeat(E'a line\n', 60000) from generate_series(1, 5) n", (KEY,))
        try:
            deliver(KEY)
        finally:
            connection.execute("drop table marts.of_texts")
    assert pq.read_table(lake / "of_texts")["t"].to_pylist() == [f"{n}" + "a line\n" * 60_000 for n in range(1, 6)]


def test_a_type_that_the_lake_lacks_is_named_and_nothing_is_delivered(lake: Path) -> None:
    with connect() as connection:
        connection.execute("create table marts.of_another_type (partition_key text, price numeric)")
        try:
            with pytest.raises(NotDelivered, match=r"no type in the lake for of_another_type.price \(numeric\); cast it in the model"):
                deliver(KEY)
        finally:
            connection.execute("drop table marts.of_another_type")
    assert [path for path in lake.rglob("*") if path.is_file()] == []


def test_the_same_rows_give_the_same_bytes_in_whatever_order_they_lie(lake: Path) -> None:
    deliver(KEY)
    before = _sums(lake)
    assert list(before) == [f"{mart}/partition_key={KEY}/data.parquet" for mart in MARTS]
    with connect() as connection:
        for mart in MARTS:
            rows = f"select * from marts.{mart} where partition_key = '{KEY}'"
            connection.execute(f"create temp table kept as {rows}".encode())
            connection.execute(f"delete from marts.{mart} where partition_key = '{KEY}'".encode())
            connection.execute(f"insert into marts.{mart} select * from kept order by random()".encode())
            connection.execute("drop table kept")
    deliver(KEY)
    assert _sums(lake) == before


def test_the_manifest_says_what_each_file_is_and_of_which_attempt(lake: Path) -> None:
    deliver(KEY)
    transform = ledger.last("transform", KEY)
    assert transform is not None
    manifest = _manifest(lake)
    assert {mart: entry["partitions"][KEY]["rows"] for mart, entry in manifest.items()} == MARTS
    for entry in (mart["partitions"][KEY] for mart in manifest.values()):
        content = (lake / entry["path"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert (entry["attempt"], entry["code"]) == (transform["attempt"], transform["code"])
    assert manifest["labels"]["columns"] == {
        "entity_id": "string", "partition_key": "string", "label": "bool", "known_at": "timestamp[us, tz=UTC]", "day": "date32[day]",
    }  # fmt: skip


def test_the_ledger_has_the_attempt_its_rows_and_its_bytes(lake: Path) -> None:
    deliver(KEY)
    row, transform = ledger.last("deliver", KEY), ledger.last("transform", KEY)
    assert row is not None
    assert transform is not None
    assert row["inputs"] == {"transform": transform["attempt"]}
    assert row["facts"] == {"rows": MARTS, "bytes": {mart: (lake / mart / f"partition_key={KEY}/data.parquet").stat().st_size for mart in MARTS}}


def test_only_what_is_published_is_delivered(lake: Path) -> None:
    deliver(OTHER)
    before = _sums(lake)
    ledger.begin("transform", OTHER).record("withdrawn")
    for key in (OTHER, "2027-03"):
        with pytest.raises(NotDelivered, match=f"{key} is not published; run `transform` for it first"):
            deliver(key)
    assert _sums(lake) == before == _promised(lake)
    failed = query("select state, facts from ops.ledger where stage = 'deliver' and partition_key = '2027-03' order by id desc limit 1")[0]
    assert failed == {"state": "failed", "facts": {"error": "NotDelivered: 2027-03 is not published; run `transform` for it first"}}


def test_a_delivery_is_of_one_moment(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first mart and the second, the partition is withdrawn and emptied: what was published is delivered, all of it."""
    read = module._table

    def withdrawn_meanwhile(connection: Connection, mart: str, columns: dict[str, str], key: str) -> Any:
        if mart == "labels":
            _clear(KEY)
        return read(connection, mart, columns, key)

    monkeypatch.setattr(module, "_table", withdrawn_meanwhile)
    deliver(KEY)
    assert query("select count(*) as n from marts.labels where partition_key = %s", KEY) == [{"n": 0}]
    assert {mart: entry["partitions"][KEY]["rows"] for mart, entry in _manifest(lake).items()} == MARTS


def test_a_mart_that_became_empty_leaves_the_lake_and_the_others_stay(lake: Path) -> None:
    deliver(KEY)
    deliver(OTHER)
    query("delete from marts.labels where partition_key = %s returning 1", KEY)
    deliver(KEY)
    assert {name for name in _sums(lake) if name.startswith("labels")} == {f"labels/partition_key={OTHER}/data.parquet"}
    assert len(_sums(lake)) == 7
    assert _sums(lake) == _promised(lake)
    assert len(_by_duckdb(f"{lake}/labels")) == len(_by_pandas(f"{lake}/labels")) == 300


def test_partitions_delivered_at_once_are_all_in_the_manifest(lake: Path) -> None:
    keys = [f"2028-{month:02}" for month in range(1, 9)]
    for key in keys:
        _fill(key)
    try:
        with ThreadPoolExecutor(len(keys)) as pool:
            list(pool.map(deliver, keys))
    finally:
        for key in keys:
            _clear(key)
    assert {mart: sorted(entry["partitions"]) for mart, entry in _manifest(lake).items()} == dict.fromkeys(MARTS, keys)
    assert _sums(lake) == _promised(lake)


def test_what_is_the_same_is_left_alone(lake: Path) -> None:
    deliver(KEY)
    before = {path: path.stat().st_ino for path in lake.rglob("*.parquet")}
    query("delete from marts.labels where partition_key = %s and label returning 1", KEY)
    deliver(KEY)
    assert [path.parts[-3] for path, inode in before.items() if path.stat().st_ino != inode] == ["labels"]


@pytest.mark.parametrize("read", READERS)
def test_who_reads_while_it_is_replaced_sees_the_old_or_the_new(lake: Path, read: Callable[[str], list[tuple[Any, ...]]]) -> None:
    deliver(KEY)
    old = read(f"{lake}/labels")
    query("update marts.labels set label = not label, entity_id = entity_id || '/' || md5(entity_id) where partition_key = %s returning 1", KEY)
    deliver(KEY)
    new = read(f"{lake}/labels")
    assert len(old) == len(new) == 300
    assert not set(old) & set(new)
    seen: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        replacing = pool.submit(_replace_again_and_again, 12)
        while not replacing.done():
            try:
                rows = read(f"{lake}/labels")
            except duckdb.Error:
                # it opens a file twice in a statement, and fails if it was replaced in between: it is asked again
                continue
            seen.append("old" if rows == old else "new" if rows == new else f"{len(rows)} other rows")
        replacing.result()
    assert set(seen) == {"old", "new"}


def _replace_again_and_again(times: int) -> None:
    flip = "update marts.labels set label = not label, entity_id = case when entity_id like '%%/%%' then split_part(entity_id, '/', 1)"
    for _ in range(times):
        query(flip + " else entity_id || '/' || md5(entity_id) end where partition_key = %s returning 1", KEY)  # type: ignore[arg-type]
        deliver(KEY)


@pytest.mark.parametrize("move", [1, 2, 5])
def test_a_killed_delivery_leaves_whole_files_and_its_retry_completes(lake: Path, move: int) -> None:
    """The fifth is the manifest's. What was moved before is new, the rest is old, and the manifest is the old one."""
    deliver(KEY)
    deliver(OTHER)
    before, text = _sums(lake), (lake / "manifest.json").read_bytes()
    for mart in MARTS:
        query(f"delete from marts.{mart} where ctid = (select max(ctid) from marts.{mart} where partition_key = %s) returning 1", KEY)  # type: ignore[arg-type]
    killed = subprocess.run([sys.executable, "-c", KILLED, KEY, str(move)], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert (lake / "manifest.json").read_bytes() == text
    after = _sums(lake)
    assert len([name for name in before if after[name] != before[name]]) == move - 1
    for mart, rows in MARTS.items():
        assert pq.read_metadata(lake / mart / f"partition_key={KEY}/data.parquet").num_rows in (rows, rows - 1)
        assert len(pd.read_parquet(lake / mart)) in (2 * rows, 2 * rows - 1)
    deliver(KEY)
    assert {mart: entry["partitions"][KEY]["rows"] for mart, entry in _manifest(lake).items()} == {mart: rows - 1 for mart, rows in MARTS.items()}
    assert _sums(lake) == _promised(lake)
    assert [path.name for path in lake.rglob("*") if path.is_file() and path.name not in ("data.parquet", "manifest.json")] == []


def test_an_s3_bucket_by_setting_has_the_same_bytes_and_readers_find_them(s3: Any, tmp_path: Path) -> None:
    deliver(KEY)
    deliver(OTHER)
    objects = {entry["Key"]: s3.get_object(Bucket="warehouse", Key=entry["Key"])["Body"].read() for entry in s3.list_objects_v2(Bucket="warehouse")["Contents"]}
    files = {name.removeprefix("marts/"): content for name, content in objects.items() if not name.endswith("/")}
    marts = json.loads(files.pop("manifest.json"))["marts"]
    promised = {entry["path"]: entry["sha256"] for mart in marts.values() for entry in mart["partitions"].values()}
    assert len(promised) == 8
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == promised
    labels = f"{settings().lake}/labels"
    expected = _labels()
    assert _by_pandas(labels) == _by_pyarrow(labels) == expected
    found = ds.dataset(labels, partitioning="hive")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("labels", found)
        assert connection.execute("select partition_key, entity_id, label, known_at, day from labels order by 1, 2").fetchall() == expected


def test_an_s3_object_is_replaced_and_one_without_rows_goes(s3: Any) -> None:
    deliver(KEY)
    deliver(OTHER)
    query("delete from marts.features where partition_key = %s returning 1", KEY)
    query("delete from marts.labels where partition_key = %s and label returning 1", KEY)
    deliver(KEY)
    names = {entry["Key"] for entry in s3.list_objects_v2(Bucket="warehouse")["Contents"] if not entry["Key"].endswith("/")}
    paths = {f"marts/{mart}/partition_key={key}/data.parquet" for mart in MARTS for key in (KEY, OTHER)}
    assert names == paths - {f"marts/features/partition_key={KEY}/data.parquet"} | {"marts/manifest.json"}
    assert len(_by_pandas(f"{settings().lake}/labels")) == 500
    assert len(pd.read_parquet(f"{settings().lake}/features")) == 300


def test_url_lake_is_what_readers_open(lake: Path) -> None:
    deliver(KEY)
    printed = CliRunner().invoke(main, ["url", "lake"]).output.strip()
    assert printed == str(lake)
    assert len(pd.read_parquet(f"{printed}/labels")) == 300


def test_without_a_setting_the_lake_is_in_the_state_folder(home: Path) -> None:
    assert settings().lake == str(home.resolve() / "lake")


@pytest.mark.parametrize("place", ["lake", "s3:///prefix", "s3://key:pass@bucket?nonsense=1", "gopher://x/y"])
def test_a_place_that_is_none_is_refused_with_its_cure_and_without_its_password(lake: Path, setenv: Callable[..., None], place: str) -> None:
    setenv(FLIGHTDECK_LAKE=place)
    with pytest.raises(NotDelivered, match="FLIGHTDECK_LAKE names no place; it takes an absolute path or a URI such as s3://bucket/prefix") as refused:
        deliver(KEY)
    assert "pass@" not in str(refused.value)


def test_the_exposure_of_the_lake_names_every_mart_that_is_delivered(lake: Path) -> None:
    deliver(KEY)
    exposures = yaml.safe_load((ROOT / "dbt_project/models/exposures.yml").read_text())["exposures"]
    assert len(exposures) >= 3
    assert all(exposure["owner"]["name"] and exposure["description"] and exposure["depends_on"] for exposure in exposures)
    named = next(exposure["depends_on"] for exposure in exposures if exposure["name"] == "lake")
    assert sorted(named) == [f"ref('{mart}')" for mart in sorted(_manifest(lake))]


def test_a_folder_and_a_file_uri_are_the_same_place(lake: Path, setenv: Callable[..., None]) -> None:
    deliver(KEY)
    setenv(FLIGHTDECK_LAKE=f"file://{str(lake).replace(' ', '%20')}")
    deliver(OTHER)
    assert len(_promised(lake)) == 8
    assert fs.FileSystem.from_uri(settings().lake)[1] == str(lake)
