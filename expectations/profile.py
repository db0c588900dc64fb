"""The profile of one partition of a table: volume, freshness, null rates, distinct counts, means, extremes and shares, each a number in ops.profiles."""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from psycopg import sql

from flightdeck.partitions import Partition, partition
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, Row, lock_until_end

WHOLE = {"smallint", "integer", "bigint"}
NUMBERS = WHOLE | {"numeric", "real", "double precision"}
TEXTS = {"text", "character varying", "character"}
TIMES = {"timestamp with time zone", "timestamp without time zone", "date"}
# measured by day too; all else is of the partition as a whole
DAILY = ("rows", "mean:", "min:", "max:", "share:")
# a text column with more values than this is counted, and not split into shares
CATEGORIES = 20
LARGEST = 1e100


@dataclass
class Profile:
    """What was measured of one partition: metric → value, and metric → day → value."""

    whole: dict[str, float] = field(default_factory=dict)
    days: dict[str, dict[date, float]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, metric: str, day: date | None, value: float) -> None:
        """Finite, whatever a source sends: NaN and infinity can be compared with no limits."""
        value = LARGEST if math.isnan(value) else float(max(-LARGEST, min(LARGEST, value)))
        if day is None:
            self.whole[metric] = value
        else:
            self.days[metric][day] = value


def measure(connection: Connection, schema: str, view: str, key: str, columns: dict[str, list[str]]) -> Profile:
    """The profile of partition `key` as `view` shows it; `columns` are the lists event_time and leave_out of control.yml."""
    profile, month, relation = Profile(), partition(key), sql.Identifier(schema, view)
    with connection.transaction():
        # days are local, whatever the server's zone is
        connection.execute("select set_config('flightdeck.partition', %s, true), set_config('timezone', %s, true)", (key, settings().timezone))
        kinds = {row["column_name"]: row["data_type"] for row in connection.execute(COLUMNS, (schema, view))}
        event = next((name for name in columns["event_time"] if kinds.get(name) in TIMES), None)
        kinds = {name: kind for name, kind in kinds.items() if name not in columns["leave_out"]}
        wanted = dict(_aggregates(kinds, event, month))
        for row in connection.execute(_statement(relation, list(wanted.values()), event, month)):
            _take(profile, row, list(wanted))
        for name in (name for name, kind in kinds.items() if kind in TEXTS):
            _split(profile, name, connection.execute(_values(relation, name)).fetchall())
    if event:
        _empty_days(profile, month)
    return profile


COLUMNS = "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s order by ordinal_position"


def _aggregates(kinds: dict[str, str], event: str | None, month: Partition) -> Iterator[tuple[str, sql.Composable]]:
    """Metric → the SQL that computes it."""
    yield "rows", sql.SQL("count(*)")
    if event:
        yield "freshness_hours", sql.SQL("extract(epoch from {} - max({}))::float8 / 3600").format(month.end, sql.Identifier(event))
    for name, kind in kinds.items():
        column = sql.Identifier(name)
        yield f"null_rate:{name}", sql.SQL("1 - count({})::float8 / nullif(count(*), 0)").format(column)
        if kind in NUMBERS:
            # sums of what is larger than LARGEST overflow, and would break the measurement
            bounded = "avg({0})" if kind in WHOLE else "avg(least(greatest({0}::float8, -1e100), 1e100)) filter (where {0} is not null)"
            yield f"mean:{name}", sql.SQL(bounded).format(column)
            yield f"min:{name}", sql.SQL("min({})").format(column)
            yield f"max:{name}", sql.SQL("max({})").format(column)
        elif kind == "boolean":
            yield f"share:{name}=true", sql.SQL("avg({}::int)").format(column)
        elif kind in TIMES and event and name != event:
            lag = "avg(extract(epoch from {}::timestamptz - {}::timestamptz)) / 3600"
            yield f"lag_hours:{name}", sql.SQL(lag).format(column, sql.Identifier(event))


def _statement(relation: sql.Composable, wanted: list[sql.Composable], event: str | None, month: Partition) -> sql.Composed:
    """One scan for all of them: the partition as a whole (day is null), and each of its days."""
    values = sql.SQL(", ").join(sql.SQL("({})::float8").format(each) for each in wanted)
    if event is None:
        return sql.SQL("select null::date as day, true as whole, array[{}] as measured from {}").format(values, relation)
    day = "case when {event} >= {start} and {event} < {end} then {event}::date end as profiled_day"
    statement = "select profiled_day as day, grouping(profiled_day) = 1 as whole, array[{values}] as measured from (select *, {day} from {relation}) batch"
    return sql.SQL(statement + " group by grouping sets ((), (profiled_day))").format(
        values=values, day=sql.SQL(day).format(event=sql.Identifier(event), start=month.start, end=month.end), relation=relation
    )


def _take(profile: Profile, row: Row, metrics: list[str]) -> None:
    for metric, value in zip(metrics, row["measured"], strict=True):
        if value is not None and (row["whole"] or (row["day"] and metric.startswith(DAILY))):
            profile.add(metric, row["day"], value)


def _values(relation: sql.Composable, name: str) -> sql.Composed:
    """The most frequent values of a text column, and how many there are; long texts are told apart by their beginning."""
    values = "select left({column}, 80) as value, count(*) as n, count(left({column}, 80)) over () as distinct from {relation} group by 1 order by n desc"
    return sql.SQL(values + " limit {limit}").format(column=sql.Identifier(name), relation=relation, limit=CATEGORIES + 1)


def _split(profile: Profile, name: str, rows: list[Row]) -> None:
    distinct = rows[0]["distinct"] if rows else 0
    profile.add(f"distinct:{name}", None, distinct)
    for row in rows if distinct <= CATEGORIES else []:
        if row["value"] is not None:
            profile.add(f"share:{name}={row['value']}", None, row["n"] / profile.whole["rows"])


def _empty_days(profile: Profile, month: Partition) -> None:
    """A day without rows is in no group of the statement: its volume is 0."""
    first, last = month.start.date(), month.end.date()
    for number in range((last - first).days):
        profile.days["rows"].setdefault(first + timedelta(number), 0.0)


def keep(connection: Connection, source: str, key: str, profile: Profile) -> None:
    """Replace the partition's profile in ops.profiles: a partition done again has one."""
    points: list[tuple[str, date | None, float]] = [(metric, None, value) for metric, value in profile.whole.items()]
    points += [(metric, day, value) for metric, days in profile.days.items() for day, value in days.items()]
    metrics, days, values = zip(*points, strict=True)
    with connection.transaction():
        lock_until_end(connection, f"profile/{source}/{key}")
        connection.execute("delete from ops.profiles where source_table = %s and partition_key = %s", (source, key))
        connection.execute(
            "insert into ops.profiles (source_table, partition_key, metric, at_day, value) select %s, %s, * from unnest(%s::text[], %s::date[], %s::float8[])",
            (source, key, list(metrics), list(days), list(values)),
        )


def history(connection: Connection, source: str, until: str, partitions: int, since: date) -> dict[str, Profile]:
    """The profiles of the newest partitions up to `until`, in key order, with their days from `since` on. A share that a partition lacks is 0 there."""
    found: dict[str, Profile] = {}
    for row in connection.execute(HISTORY, {"source": source, "until": until, "partitions": partitions, "since": since}):
        found.setdefault(row["partition_key"], Profile()).add(row["metric"], row["at_day"], row["value"])
    shares = {metric for profile in found.values() for metric in profile.whole if metric.startswith("share:")}
    for profile in found.values():
        for metric in shares - profile.whole.keys():
            column = metric.removeprefix("share:").partition("=")[0]
            if profile.whole.get(f"distinct:{column}", CATEGORIES + 1) <= CATEGORIES:
                profile.whole[metric] = 0.0
    return found


HISTORY = """
select partition_key, metric, at_day, value from ops.profiles
where source_table = %(source)s and partition_key in (
    select distinct partition_key from ops.profiles where source_table = %(source)s and partition_key <= %(until)s order by 1 desc limit %(partitions)s
) and (at_day is null or at_day >= %(since)s) order by partition_key, metric, at_day"""
