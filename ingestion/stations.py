"""The weather stations' REST API → landing.weather: pages of JSON, one arrow table a page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dlt
import httpx
import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import JSON, Reading, SourceError, arrow_types, hints

# 35 ms a request here, whatever its size
PAGE_ROWS = 1000
TRIES = 4


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()["weather"]))
    def weather() -> Iterator[pa.Table]:
        key, rows, total, page, pages = reading.partition.key, 0, 0, 0, 1
        with _client() as client:
            while page < pages:
                page += 1
                body = _page(client, reading, page)
                total, pages = body["total"], body["pages"]
                rows += len(body["data"])
                yield _table(reading, body["data"], f"stations, page {page} of {key}")
        if rows != total:
            raise SourceError(f"stations sent {rows} rows for {key} where it announced {total}")

    return [weather]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Observations of the partition that were recorded after `after` and up to `as_of`: late ones and corrections."""
    parameters = _when(partition) | {"after": _utc(after), "as_of": _utc(as_of)}
    with _client() as client:
        body = _get(client, "/weather/changes", parameters, f"stations, changes of {partition.key}")
    if not isinstance(body, dict) or not isinstance(body.get("rows"), int):
        raise SourceError(f"stations, changes of {partition.key}: expected rows, got {str(body)[:200]}")
    return int(body["rows"])


def _client() -> httpx.Client:
    return httpx.Client(base_url=settings().url("world"), timeout=30, transport=httpx.HTTPTransport(retries=2))


def _when(partition: Partition) -> dict[str, Any]:
    """What is asked for: a month, or a day or hour of it."""
    return {"month": f"{partition.start:%Y-%m}"} | {name: value for name, value in partition.fields.items() if name in ("day", "hour")}


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _get(client: httpx.Client, path: str, parameters: dict[str, Any], place: str) -> Any:
    """The answer's JSON; a server's error (5xx) is asked again, a few times."""
    for last in (*[False] * (TRIES - 1), True):
        try:
            answer = client.get(path, params=parameters)
            if answer.is_server_error and not last:
                continue
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SourceError(f"{place}: {error}") from error
    raise AssertionError("the last try returns or raises")


def _page(client: httpx.Client, reading: Reading, page: int) -> dict[str, Any]:
    key = reading.partition.key
    place = f"stations, page {page} of {key}"
    body = _get(client, "/weather", _when(reading.partition) | {"as_of": _utc(reading.as_of), "page": page, "limit": PAGE_ROWS}, place)
    wanted = {"data": list, "page": int, "pages": int, "total": int}
    if not isinstance(body, dict) or any(not isinstance(body.get(name), kind) for name, kind in wanted.items()) or body["page"] != page:
        raise SourceError(f"{place}: not a page; expected data, page {page}, pages and total, got {str(body)[:200]}")
    return body


def _table(reading: Reading, rows: list[Any], place: str) -> pa.Table:
    for row in rows:
        if not isinstance(row, dict):
            raise SourceError(f"{place}: {str(row)[:200]} is not a row")
    # rows that differ in their columns are looked at one by one, a page of one shape once
    for shape in {tuple(row) for row in rows}:
        reading.columns("weather", place, shape)
    typed = reading.typed("weather", place, rows, JSON)
    schema = pa.schema([*arrow_types("weather").items(), ("partition_key", pa.string())])
    return pa.Table.from_pylist([row | {"partition_key": reading.partition.key} for row in typed], schema=schema)
