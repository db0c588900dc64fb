"""The weather stations' REST API → landing.weather: pages of JSON, one arrow table a page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from operator import index
from typing import Any

import dlt
import httpx
import pyarrow as pa

from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import MERGE, SCHEMA_CONTRACT, SourceError, require_columns

# 35 ms a request here, whatever its size
PAGE_ROWS = 1000
WHOLE = ["year", "month", "day", "hour"]
SCHEMA = pa.schema(
    [("origin", pa.string())]
    + [(name, pa.int64()) for name in WHOLE]
    + [(name, pa.float64()) for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")]
    + [("time_hour", pa.timestamp("us", "UTC")), ("recorded_at", pa.timestamp("us", "UTC")), ("partition_key", pa.string())]
)


def resources(partition: Partition, columns: dict[str, list[str]]) -> list[Any]:
    @dlt.resource(name="weather", write_disposition=MERGE, merge_key="partition_key", schema_contract=SCHEMA_CONTRACT)
    def weather() -> Iterator[pa.Table]:
        rows, total, page, pages = 0, 0, 0, 1
        with httpx.Client(base_url=settings().url("world"), timeout=30, transport=httpx.HTTPTransport(retries=2)) as client:
            while page < pages:
                page += 1
                body = _page(client, partition, page)
                total, pages = body["total"], body["pages"]
                rows += len(body["data"])
                yield _table(body["data"], partition.key, columns["weather"], page)
        if rows != total:
            raise SourceError(f"stations sent {rows} rows for {partition.key} where it announced {total}")

    return [weather]


def _page(client: httpx.Client, partition: Partition, page: int) -> dict[str, Any]:
    as_of = partition.closes.astimezone(UTC).isoformat()
    place = f"stations, page {page} of {partition.key}"
    try:
        answer = client.get("/weather", params={"month": partition.key, "as_of": as_of, "page": page, "limit": PAGE_ROWS})
        answer.raise_for_status()
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise SourceError(f"{place}: {error}") from error
    wanted = {"data": list, "page": int, "pages": int, "total": int}
    if not isinstance(body, dict) or any(not isinstance(body.get(name), kind) for name, kind in wanted.items()) or body["page"] != page:
        raise SourceError(f"{place}: not a page; expected data, page {page}, pages and total, got {str(body)[:200]}")
    return body


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return time


def _table(rows: list[Any], key: str, columns: list[str], page: int) -> pa.Table:
    place = f"stations, page {page} of {key}"
    for row in rows:
        if not isinstance(row, dict):
            raise SourceError(f"{place}: {str(row)[:200]} is not a row")
        require_columns(place, columns, list(row))
    try:
        # arrow would cut 5.5 to 5 in silence
        whole = [{name: index(row[name]) for name in WHOLE} for row in rows]
        typed = [
            row | numbers | {"partition_key": key, **{name: _time(row[name]) for name in ("time_hour", "recorded_at")}}
            for row, numbers in zip(rows, whole, strict=True)
        ]
        return pa.Table.from_pylist(typed, schema=SCHEMA)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SourceError(f"{place}: {error}") from error
