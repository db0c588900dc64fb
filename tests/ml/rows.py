"""Made-up labelled rows of a partition, as a snapshot holds them and as the warehouse does; the same key gives the same rows."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from flightdeck.partitions import partition
from flightdeck.warehouse import Connection
from ml.dataset import ORDER, TYPES
from ml.features import FEATURES, code

COLUMNS = ["entity_id", "partition_key", "history_key", *FEATURES]


def table(key: str, count: int) -> pa.Table:
    """`count` rows, spread evenly over the days of the month `key`; a fifth of the temperatures is missing.

    The label follows the minute of the day and the weather, as in the real data: a model of these rows passes the model tests.
    """
    month, random = partition(key), np.random.default_rng(int(key.replace("-", "")))
    days = (month.end.date() - month.start.date()).days
    day = [month.start.date() + timedelta(days=number * days // count) for number in range(count)]
    columns: dict[str, Any] = {name: random.normal(size=count).round(6) for name in FEATURES}
    columns |= {
        "carrier_code": random.choice([code(name) for name in ("UA", "B6", "DL", "AA", "OO")], count, p=[0.4, 0.3, 0.2, 0.08, 0.02]),
        "origin_code": random.choice([code(name) for name in ("JFK", "LGA", "EWR")], count),
        "minute_of_day": random.integers(300, 1380, count).astype(float),
        "temp": random.uniform(20, 90, count).round(2),
        "humid": random.uniform(30, 100, count).round(2),
        "precip": (random.exponential(0.2, count) * (random.random(count) < 0.3)).round(2),
        "visib": random.uniform(0.2, 10, count).round(2),
        "pressure": random.normal(1015, 7, count).round(1),
        "wind_dir": random.uniform(0, 360, count).round(0),
    }
    score = (columns["minute_of_day"] - 840) / 150 - (columns["visib"] - 5) / 3 + columns["precip"] * 3 + random.normal(size=count)
    columns["temp"][random.random(count) < 0.2] = np.nan
    identity = [f"{when}T10:00:00Z/UA/{number:05}" for number, when in enumerate(day)]
    label = (score > 1).astype(np.int8)
    known = {"entity_id": identity, "partition_key": [key] * count, "history_key": [None] * count, "day": day, "label": label}
    return pa.table({name: pa.array((known | columns)[name], type=TYPES.get(name, pa.string()), from_pandas=True) for name in ORDER})


def insert(connection: Connection, rows: pa.Table) -> None:
    """Put the rows into marts.features and marts.labels; each label is known at noon (UTC) of the day after its own."""
    with connection.cursor().copy(f"copy marts.features ({', '.join(COLUMNS)}) from stdin".encode()) as copy:
        for row in rows.to_pylist():
            copy.write_row([row[name] for name in COLUMNS])
    with connection.cursor().copy("copy marts.labels (entity_id, partition_key, label, known_at, day) from stdin") as copy:
        for row in rows.to_pylist():
            copy.write_row((row["entity_id"], row["partition_key"], bool(row["label"]), f"{_next(row['day'])} 12:00+00", row["day"]))


def _next(day: date) -> date:
    return day + timedelta(days=1)


def remove(connection: Connection, keys: list[str]) -> None:
    for name in ("marts.features", "marts.labels", "ops.predictions"):
        connection.execute(f"delete from {name} where partition_key = any(%s)".encode(), (keys,))
