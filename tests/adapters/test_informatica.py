"""Files as PowerCenter delivers them, cut by bars and without a header, and the mapping that names their fields → the same raw rows."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from flightdeck.warehouse import query
from ingestion.adapters import informatica
from ingestion.contract import SourceError
from ingestion.files import dropped
from ingestion.load import load
from tests.ingestion.months import content, ingest, last

# reference data are the newest month's
NEWEST = "2013-12"
TABLES = ("planes", "airports", "airlines")
TARGET = """
  <TARGET DATABASETYPE="Flat File" NAME="{table}" OBJECTVERSION="1" VERSIONNUMBER="1">
    <FLATFILE CODEPAGE="{codepage}" DELIMITED="YES" DELIMITERS="{delimiter}" QUOTE_CHARACTER="DOUBLE" ROWDELIMITER="10" SKIPROWS="0"/>
    {fields}
  </TARGET>"""
FIELD = '<TARGETFIELD DATATYPE="string" FIELDNUMBER="{number}" KEYTYPE="NOT A KEY" NAME="{name}" NULLABLE="NULL" PRECISION="80" SCALE="0"/>'
EXPORT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE POWERMART SYSTEM "powrmart.dtd">
<POWERMART><REPOSITORY CODEPAGE="UTF-8" DATABASETYPE="PostgreSQL" NAME="registry"><FOLDER NAME="registry">{targets}</FOLDER></REPOSITORY></POWERMART>"""


def _export(folder: Path, columns: dict[str, list[str]], delimiter: str = "|", codepage: str = "UTF-8") -> None:
    """The mapping's export, its fields in an order of their own."""
    targets = ""
    for table, names in columns.items():
        fields = "".join(FIELD.format(number=number, name=name) for number, name in reversed([*enumerate(names, 1)]))
        targets += TARGET.format(table=table, fields=fields, delimiter=delimiter, codepage=codepage)
    (folder / "mapping.xml").write_text(EXPORT.format(targets=targets))


@pytest.fixture
def delivered(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each of the registry's drops as PowerCenter would have written it; nothing where a value is none."""
    columns: dict[str, list[str]] = {}
    for path in sorted(path for table in TABLES for path in dropped().glob(f"????-??-??/{table}.csv")):
        (out := tmp_path / path.parent.name / f"{path.stem}.out").parent.mkdir(exist_ok=True)
        columns[path.stem], *rows = csv.reader(path.read_text().splitlines())
        with out.open("w") as target:
            csv.writer(target, delimiter="|", lineterminator="\n").writerows([["" if value == "NA" else value for value in row] for row in rows])
    assert set(columns) == set(TABLES)
    _export(tmp_path, columns)
    monkeypatch.setenv("INFORMATICA_FILES", str(tmp_path))
    monkeypatch.setenv("INFORMATICA_MAPPING", str(tmp_path / "mapping.xml"))
    return tmp_path


def _files(folder: Path, table: str) -> list[Path]:
    return sorted(folder.glob(f"????-??-??/{table}.out"))


def test_the_tables_through_its_files_are_the_same_in_raw(delivered: Path, chosen: Callable[[str, str], None]) -> None:
    ingest(NEWEST)
    before = content(NEWEST)
    assert before["planes"][1] > 3000
    chosen("registry", "ingestion.adapters.informatica")
    row = ingest(NEWEST)
    assert content(NEWEST) == before
    assert query("select distinct _dlt_load_id as id from raw.planes") == [{"id": row["inputs"]["registry"]}]


def test_a_file_that_was_cut_publishes_nothing_and_a_whole_one_completes_it(delivered: Path, chosen: Callable[[str, str], None]) -> None:
    chosen("registry", "ingestion.adapters.informatica")
    ingest(NEWEST)
    before, attempt = content(NEWEST), last(NEWEST)["attempt"]
    path = _files(delivered, "planes")[-1]
    whole = path.read_bytes()
    for broken, reason in (
        (whole[:-20], "informatica, file planes.out of 20..-..-..: cut off in its last line"),
        (whole.replace(b"|", b"||", 1), "informatica, file planes.out of 20..-..-.., line 1: 10 values, and the mapping has 9 fields"),
        (b"", "informatica, file planes.out of 20..-..-..: empty"),
    ):
        path.write_bytes(broken)
        with pytest.raises(SourceError, match=reason):
            load(NEWEST)
        assert (content(NEWEST), last(NEWEST)["attempt"]) == (before, attempt)
    path.write_bytes(whole)
    ingest(NEWEST)
    assert content(NEWEST) == before


@pytest.mark.parametrize(("delimiter", "codepage", "encoding"), [(r"\t", "UTF-8", "utf-8"), (r"\011", "MS1252", "cp1252"), (";", "Latin1", "latin-1")])
def test_delimiter_and_code_page_are_the_mapping_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delimiter: str, codepage: str, encoding: str) -> None:
    _export(tmp_path, {"airlines": ["carrier", "name"]}, delimiter, codepage)
    monkeypatch.setenv("INFORMATICA_MAPPING", str(tmp_path / "mapping.xml"))
    (path := tmp_path / "2013-02-01" / "airlines.out").parent.mkdir()
    path.write_text("9E{0}Endeavor, Air\nÅÄ{0}Ürs\n".format({";": ";"}.get(delimiter, "\t")), encoding=encoding)
    assert informatica._plain(path, "airlines") == 'carrier,name\n9E,"Endeavor, Air"\nÅÄ,Ürs\n'


@pytest.mark.parametrize(
    ("columns", "delimiter", "reason"),
    [
        ({"airports": ["faa"]}, "|", "mapping.xml: no flat-file target airlines"),
        ({"airlines": ["carrier"]}, "||", "target airlines: delimited by one character"),
    ],
)
def test_what_the_mapping_does_not_say_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, list[str]], delimiter: str, reason: str
) -> None:
    _export(tmp_path, columns, delimiter)
    monkeypatch.setenv("INFORMATICA_MAPPING", str(tmp_path / "mapping.xml"))
    with pytest.raises(SourceError, match=reason):
        informatica._plain(tmp_path / "airlines.out", "airlines")
    monkeypatch.setenv("INFORMATICA_MAPPING", str(tmp_path / "none.xml"))
    with pytest.raises(SourceError, match="INFORMATICA_MAPPING says where it is"):
        informatica._plain(tmp_path / "airlines.out", "airlines")
