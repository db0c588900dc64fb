"""Everything that holds data, as an erasure sees it: where a word is, and how it goes away. A word is a subject as it is written, or its pseudonym."""

import io
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from flightdeck import lake
from flightdeck.launch import postgres_bin
from flightdeck.settings import settings

DATABASES = ["warehouse", "mlflow", "airflow"]
# texts, and what can hold one
COLUMNS = """
select n.nspname as schema, c.relname as name, array_agg(a.attname::text order by a.attnum) as columns, array_agg(format_type(a.atttypid, a.atttypmod)) as types
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'personal')
  and (t.typcategory = 'S' or t.typname in ('json', 'jsonb', '_text', '_varchar', 'name')) group by 1, 2 order by 1, 2"""
MARK = "erased"
PARQUET = b"PAR1"
# what is kept on this machine beside databases and objects: the site, logs, check results, the log on its way, what is being worked on
FOLDERS = ["reports", "logs", "expectations", "serving", "work", "airflow"]


@dataclass
class Erased:
    """What an erasure has found in a store, what it did about it, and what it could not."""

    found: list[str]
    did: str = "held nothing"
    left: list[str] = field(default_factory=list)


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
        self.url = settings().database_url("flightdeck").rpartition("/")[0] + f"/{name}"

    def find(self, words: Words) -> list[str]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return [f"{schema}.{table}.{column} in {rows} row(s)" for schema, table, column, _, rows in self._where(connection, words)]

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


class Files:
    """Files below a place, a folder or a URI. A text is written over in place, letter by letter, so that who appends to it loses nothing."""

    def __init__(self, name: str, place: str) -> None:
        from pyarrow import fs

        self.name, self.place = name, place
        self.store, self.root = fs.FileSystem.from_uri(place if "://" in place else str(Path(place).resolve()))

    def find(self, words: Words) -> list[str]:
        return [path for path, _ in self.holding(words)]

    def erase(self, words: Words) -> Erased:
        done = Erased([])
        for path, content in self.holding(words):
            done.found.append(path)
            self.rewrite(path, content, words, done)
        done.did = done.did if done.did != "held nothing" or not done.found else "rewritten"
        return done

    def holding(self, words: Words) -> Iterator[tuple[str, bytes]]:
        from pyarrow import fs

        if self.store.get_file_info(self.root).type == fs.FileType.NotFound:
            return
        for info in sorted(self.store.get_file_info(fs.FileSelector(self.root, recursive=True)), key=lambda each: str(each.path)):
            if info.type != fs.FileType.File:
                continue
            try:
                with self.store.open_input_stream(info.path, compression=None) as stream:
                    content = stream.read()
            except FileNotFoundError:
                # it was one of the moment
                continue
            if holds(content, words):
                yield info.path.removeprefix(self.root).lstrip("/"), content

    def rewrite(self, path: str, content: bytes, words: Words, done: Erased) -> None:
        whole = f"{self.root}/{path}"
        if content.startswith(PARQUET):
            self._write(whole, without(content, words))
        elif "://" in self.place:
            self._write(whole, words.pattern.sub(lambda found: b"*" * len(found[0]), content))
        else:
            with Path(whole).open("r+b") as file:
                for found in words.pattern.finditer(content):
                    file.seek(found.start())
                    file.write(b"*" * len(found[0]))

    def _write(self, path: str, content: bytes) -> None:
        with self.store.open_output_stream(path, compression=None) as stream:
            stream.write(content)


class Lake(Files):
    """The marts for others: a partition is delivered anew from its marts, which are rewritten before."""

    def __init__(self) -> None:
        super().__init__("lake", settings().lake)

    def rewrite(self, path: str, content: bytes, words: Words, done: Erased) -> None:
        key = re.search(r"partition_key=([^/]+)/", path)
        if key:
            lake.deliver(key[1])
            done.did = "delivered anew"
        else:
            super().rewrite(path, content, words, done)


class Snapshots(Files):
    """DVC's objects, whose names are their checksums: they cannot be rewritten, so they go, and what learned from them is named."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name, place)
        self.gone: list[str] = []

    def rewrite(self, path: str, content: bytes, words: Words, done: Erased) -> None:
        self.store.delete_file(f"{self.root}/{path}")
        self.gone.append("".join(path.split("/")[-2:]))
        done.did = "deleted"


class Artifacts(Files):
    """MLflow's files. A model that a release names is what it is by its checksum: it is left, and named."""

    def __init__(self, models: list[str]) -> None:
        super().__init__("MLflow artifacts", settings().artifacts)
        self.models = models

    def rewrite(self, path: str, content: bytes, words: Words, done: Erased) -> None:
        if path in self.models:
            done.left.append(f"the model file {path}: train anew, deploy that, and delete the version")
        else:
            super().rewrite(path, content, words, done)


class Backup:
    """A backup is one by its checksums, and is not rewritten. Pseudonyms in it lead nowhere once their key is gone; a name as it is written must go with it."""

    def __init__(self, place: Path, subject: str) -> None:
        self.name, self.place, self.clear = f"backup {place}", place, Words(subject)

    def find(self, words: Words) -> list[str]:
        found = Files(self.name, str(self.place)).find(words)
        for dump in sorted((self.place / "databases").glob("*")):
            done = subprocess.run([str(postgres_bin() / "pg_restore"), "--file=-", str(dump)], check=True, capture_output=True)
            found += [f"databases/{dump.name}"] if words.pattern.search(done.stdout) else []
        return found

    def erase(self, words: Words) -> Erased:
        clear = self.find(self.clear)
        done = Erased(sorted({*self.find(words), *clear}))
        done.left = [f"{each}: a backup is not rewritten; destroy it, or let it expire" for each in clear]
        done.did = "left as it is" if clear else "unreadable: the key is gone" if done.found else "held nothing"
        return done


def holds(content: bytes, words: Words) -> bool:
    if content.startswith(PARQUET):
        return any(words.text.search(value) for value in _texts(content))
    return words.pattern.search(content) is not None


def _texts(content: bytes) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for column in pq.read_table(io.BytesIO(content)).columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from (value for value in column.unique().to_pylist() if value)


def without(content: bytes, words: Words) -> bytes:
    """A Parquet file with its texts rewritten."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    for place, each in enumerate(table.schema):
        if pa.types.is_string(each.type) or pa.types.is_large_string(each.type):
            values = [value and words.text.sub(MARK, value) for value in table.column(place).to_pylist()]
            table = table.set_column(place, each, pa.array(values, each.type))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
