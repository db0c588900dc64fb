"""Files, objects and backups, as an erasure sees them: where a word is, and how it goes away."""

import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flightdeck import lake
from flightdeck.launch import postgres_bin
from flightdeck.settings import settings
from governance.stores import MARK, Erased, Words

PARQUET = b"PAR1"
# folders of the state that are searched otherwise or hold none of the platform's data; all others are searched file by file
APART = {"postgres", "lake", "dvc", "mlflow", "secrets", "world"}


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
            done.left[path] = "a release is served by it: train anew, deploy that, and delete the version"
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
        done.left = dict.fromkeys(clear, "a backup is not rewritten; destroy it, or let it expire")
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
