"""Databases, as an erasure sees them: where a word is, and how it goes away. A word is a subject as it is written, or its pseudonym.

A store has `name`, `find(words)` and `erase(words)`; governance/files.py has the others.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from flightdeck.settings import settings

DATABASES = ["warehouse", "mlflow", "airflow"]
# texts, and what can hold one
COLUMNS = """
select n.nspname as schema, c.relname as name, array_agg(a.attname::text order by a.attnum) as columns, array_agg(format_type(a.atttypid, a.atttypmod)) as types
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'personal')
  and (t.typcategory = 'S' or t.typname in ('json', 'jsonb', '_text', '_varchar', 'name')) group by 1, 2 order by 1, 2"""
MARK = "erased"


@dataclass
class Erased:
    """What an erasure has found in a store, what it did about it, and what it could not: {place: why, and what to do}."""

    found: list[str]
    did: str = "held nothing"
    left: dict[str, str] = field(default_factory=dict)


class Words:
    """What is looked for, whatever its case."""

    def __init__(self, *words: str) -> None:
        # as it is, and as JSON writes it
        self.all = sorted({form for word in words for form in (word, json.dumps(word)[1:-1])}, key=len, reverse=True)

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(re.escape(word.encode()) for word in self.all), re.IGNORECASE)

    @cached_property
    def text(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.all)), re.IGNORECASE)


class Database:
    """A database's tables, but for those of who asked. As the administrator: what may only grow is rewritten, too, and nothing else of it changes."""

    def __init__(self, name: str) -> None:
        self.name = f"database {name}"
        self.url = settings().database_url("flightdeck", database=name)

    def find(self, words: Words) -> list[str]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return [f"{schema}.{table}.{column} in {rows} row(s)" for schema, table, column, _, rows in self._where(connection, words)]

    def rows(self, words: Words) -> dict[str, list[Any]]:
        """{schema.table: the rows that say it}."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            places: dict[tuple[str, str], list[sql.Composable]] = {}
            for schema, table, column, _, _ in self._where(connection, words):
                places.setdefault((schema, table), []).append(_says(sql.Identifier(column), words))
            values, found = {f"word{place}": word for place, word in enumerate(words.all)}, {}
            for (schema, table), said in places.items():
                query = sql.SQL("select to_jsonb(t) from {} t where {}").format(sql.Identifier(schema, table), sql.SQL(" or ").join(said))
                found[f"{schema}.{table}"] = [row[0] for row in connection.execute(query, values)]
        return found

    def erase(self, words: Words) -> Erased:
        done = Erased([])
        with psycopg.connect(self.url, autocommit=True) as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            for schema, table, column, kind, rows in self._where(connection, words):
                name, place = sql.Identifier(schema, table), sql.Identifier(column)
                for word in words.all:
                    # after ***= all is literal
                    query = sql.SQL("update {0} set {1} = regexp_replace({1}::text, %s, %s, 'gi')::{2} where strpos(lower({1}::text), lower(%s)) > 0")
                    connection.execute(query.format(name, place, sql.SQL(kind)), (f"***={word}", MARK, word))
                done.found.append(f"{schema}.{table}.{column} in {rows} row(s)")
        done.did = "rewritten" if done.found else done.did
        return done

    def _where(self, connection: Any, words: Words) -> Iterator[tuple[str, str, str, str, int]]:
        for schema, table, columns, types in connection.execute(COLUMNS).fetchall():
            counts = [sql.SQL("count(*) filter (where {})").format(_says(sql.Identifier(each), words)) for each in columns]
            query = sql.SQL("select {} from {}").format(sql.SQL(", ").join(counts), sql.Identifier(schema, table))
            # as parameters, which no log of statements tells
            row = connection.execute(query, {f"word{place}": word for place, word in enumerate(words.all)}).fetchone()
            yield from ((schema, table, column, kind, rows) for column, kind, rows in zip(columns, types, row, strict=True) if rows)


def _says(column: sql.Composable, words: Words) -> sql.Composable:
    found = sql.SQL("strpos(lower({}::text), lower({}::text)) > 0")
    return sql.SQL(" or ").join(found.format(column, sql.Placeholder(f"word{place}")) for place, _ in enumerate(words.all))


class Askers:
    """Who asked, by pseudonym: the rows go. What was asked and answered says nothing of anybody, and stays."""

    name = "who asked"

    def find(self, words: Words) -> list[str]:
        return self._run("select count(*) from personal.askers where subject = any(%s)", words)

    def erase(self, words: Words) -> Erased:
        found = self._run("with gone as (delete from personal.askers where subject = any(%s) returning 1) select count(*) from gone", words)
        return Erased(found, "deleted" if found else "held nothing")

    def _run(self, query: str, words: Words) -> list[str]:
        with psycopg.connect(settings().database_url("privacy"), autocommit=True) as connection:
            row = connection.execute(query.encode(), (words.all,)).fetchone()
        return [f"personal.askers in {row[0]} row(s)"] if row and row[0] else []
