"""Statistical process control of the batches: measure, keep, judge by the history, and say what is unusual. A warning, unless control.yml says stop."""

from dataclasses import dataclass
from datetime import timedelta

from expectations.control import Judged, configuration, judge, rule
from expectations.profile import history, keep, measure
from flightdeck.alert import Alert, send
from flightdeck.ledger import Attempt
from flightdeck.partitions import partition
from flightdeck.warehouse import Connection, connect, query

# of the flags of one table and attempt, the ledger and the alert take the farthest out
MOST = 20


class Unusual(RuntimeError):
    """Data outside their control limits, where control.yml says stop; the message names table, metric, value and limits."""


@dataclass(frozen=True)
class Flag:
    """A metric of a partition that is outside its limits: as a whole, or on some of its days, by the farthest."""

    text: str
    excess: float
    stop: bool


def measured(key: str, schema: str, tables: list[str]) -> None:
    """Keep the profiles of the batches `<schema>.<table>_batch` of partition `key`, as they are now."""
    with connect() as connection:
        for table in tables:
            keep(connection, f"{schema}.{table}", key, measure(connection, schema, f"{table}_batch", key, configuration()))


def sources(key: str) -> list[str]:
    """The tables, as `<schema>.<table>`, that a profile is kept of for this partition."""
    return [row["source"] for row in query("select distinct source_table as source from ops.profiles where partition_key = %s order by 1", key)]


def watch(attempt: Attempt, sources: list[str]) -> None:
    """Judge the profiles of the attempt's partition, once the earlier ones are there; flags go to its facts and to ops.alerts. Raises Unusual."""
    stops = []
    for source in sources:
        with connect() as connection:
            judged = _judged(connection, attempt.key, source)
        found = flags(source, judged)
        attempt.facts[f"profiled_{source.replace('.', '_')}"] = {
            "values": len(judged),
            "without_limits": sum(one.low is None for one in judged),
            "flags": len(found),
        }
        if found:
            texts = [flag.text for flag in found[:MOST]] + ([f"and {len(found) - MOST} more"] if len(found) > MOST else [])
            attempt.facts["unusual"] = [*attempt.facts.get("unusual", []), *texts]
            stops += [flag.text for flag in found if flag.stop]
            severity = "stop" if any(flag.stop for flag in found) else "warning"
            send(attempt, Alert(source, severity, f"{source} of {attempt.key}: {len(found)} unusual; {found[0].text}", texts))
    if stops:
        raise Unusual(f"{attempt.key}: {'; '.join(stops[:MOST])}")


def _judged(connection: Connection, key: str, source: str) -> list[Judged]:
    settled = configuration()
    since = partition(key).start.date() - timedelta(weeks=settled["days"]["weeks"])
    return judge(source, history(connection, source, key, settled["partitions"]["history"] + 1, since), settled, key)


def flags(source: str, judged: list[Judged]) -> list[Flag]:
    """One flag for each metric that is unusual as a whole, and one for its unusual days together; the farthest out first."""
    grouped: dict[tuple[str, str, bool], list[Judged]] = {}
    for one in judged:
        if one.excess:
            grouped.setdefault((one.key, one.metric, one.day is None), []).append(one)
    found = []
    for (_, metric, _), those in grouped.items():
        worst = max(those, key=lambda one: one.excess)
        more = f", and {len(those) - 1} more day{'s' * (len(those) > 2)}" if len(those) > 1 else ""
        found.append(Flag(f"{describe(source, worst)}{more}", worst.excess, rule(source, metric, configuration()["metrics"]).then == "stop"))
    return sorted(found, key=lambda flag: -flag.excess)


def describe(source: str, one: Judged) -> str:
    """The value and its limits in words; texts from the data are cut."""
    when = f" on {one.day}" if one.day else ""
    limits = "no limits yet" if one.low is None or one.high is None else f"usual {number(one.low)} to {number(one.high)}"
    return f"{source} {one.key}: {one.metric[:120]}{when} is {number(one.value)}, {limits}"


def number(value: float) -> str:
    """Short, with as many digits as matter."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
