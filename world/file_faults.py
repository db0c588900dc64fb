"""Faults of the dropped files: planes.csv of the month's newest drop, and the month's timetable; the originals are kept aside."""

import shutil
from collections.abc import Callable
from pathlib import Path

from flightdeck.settings import settings
from world.faults import Fault, Refused, chosen, closes

Table = list[list[str]]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# of each file: the new column, the one that is lost, its new name, and the one that becomes text
COLUMNS = {"planes.csv": ("owner", "seats", "seat_count", "seats"), "timetable": ("gate", "tailnum", "tail_number", "distance")}
KEY = ("time_hour", "carrier", "flight")


def _add(table: Table, file: str) -> Table:
    return [[*row, "" if number else COLUMNS[file][0]] for number, row in enumerate(table)]


def _lose(table: Table, file: str) -> Table:
    place = _place(table, COLUMNS[file][1])
    return [row[:place] + row[place + 1 :] for row in table]


def _rename(table: Table, file: str) -> Table:
    _, old, new, _ = COLUMNS[file]
    place = _place(table, old)
    return [[*table[0][:place], new, *table[0][place + 1 :]], *table[1:]]


def _retype(table: Table, file: str) -> Table:
    place = _place(table, COLUMNS[file][3])
    # slices, because the last row of a truncated file may be short
    return [table[0], *(row[:place] + [_words(cell) for cell in row[place : place + 1]] + row[place + 1 :] for row in table[1:])]


def _words(number: str) -> str:
    return "-".join(DIGITS[int(digit)] for digit in number) if number.isdecimal() else number


def _set(column: str, value: str) -> Callable[[Table, set[str]], Table]:
    def change(table: Table, keys: set[str]) -> Table:
        place = _place(table, column)
        return [table[0], *([*row[:place], value, *row[place + 1 :]] if key in keys else row for key, row in _keyed(table))]

    return change


def _copy(table: Table, keys: set[str]) -> Table:
    return table + [row for key, row in _keyed(table) if key in keys]


WHOLE: dict[str, Callable[[Table, str], Table]] = {"new_column": _add, "lost_column": _lose, "renamed_column": _rename, "retyped_column": _retype}
ROWS: dict[str, Callable[[Table, set[str]], Table]] = {
    "duplicate_rows": _copy,
    # a lone surrogate is written as its byte, 0xff or 0xfe, which no UTF-8 has
    "poison bad_utf8": _set("tailnum", "N\udcff\udcfe"),
    "poison absurd": _set("distance", "99999999"),
    "poison huge": _set("tailnum", "N" * 1_000_000),
}
FAULTS = {"truncated_file", *WHOLE, *ROWS}


def _place(table: Table, name: str) -> int:
    if name not in table[0]:
        raise Refused(f"the file has no column {name}: an earlier fault stands in the way; `python -m world heal`")
    return table[0].index(name)


def _keyed(table: Table) -> list[tuple[str, list[str]]]:
    places = [_place(table, name) for name in KEY]
    return [("/".join(cell for place in places for cell in row[place : place + 1]), row) for row in table[1:]]


def _read(path: Path) -> Table:
    return [line.split(",") for line in path.read_bytes().decode(errors="surrogateescape").removesuffix("\n").split("\n")]


def _bytes(table: Table) -> bytes:
    return "".join(",".join(row) + "\n" for row in table).encode(errors="surrogateescape")


def _drops() -> Path:
    return settings().home / "world" / "files"


def _originals() -> Path:
    return settings().home / "world" / "originals"


def _kept(path: Path) -> Path:
    return _originals() / path.relative_to(_drops())


def _targets(fault: Fault) -> dict[str, Path]:
    """The newest of each file that the month would read; a fault of some rows is one of the timetable."""
    dated = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]"
    patterns = {"timetable": f"timetables/{dated}/{fault.month}.csv", "planes.csv": f"{dated}/planes.csv"}
    files = [file for file in patterns if fault.file in (None, file) and (file == "timetable" or fault.label not in ROWS)]
    if not files:
        raise Refused(f"{fault.file} cannot have {fault.label}; the timetable can")
    closed = closes(fault.month).date().isoformat()
    found = {file: max((path for path in _drops().glob(patterns[file]) if path.parent.name <= closed), default=None) for file in files}
    if missing := [file for file, path in found.items() if path is None]:
        raise Refused(f"there is no {missing[0]} for {fault.month} in {_drops()}; `python -m world` lays it when it starts")
    return {file: path for file, path in found.items() if path}


def _spoiled(file: str, path: Path, fault: Fault) -> tuple[bytes, str]:
    """What the file becomes, and what to say of it."""
    name = path.relative_to(_drops()).as_posix()
    if fault.name == "truncated_file":
        whole = path.read_bytes()
        # a cut at a line's end would leave a file that looks whole
        half = len(whole) // 2
        half -= whole[half - 1 : half] == b"\n"
        return whole[:half], f"{name}, {half} of {len(whole)} bytes left"
    table = _read(path)
    if fault.label in WHOLE:
        return _bytes(WHOLE[fault.label](table, file)), f"{name}, its columns"
    original = _keyed(_read(_kept(path) if _kept(path).exists() else path))
    keys = chosen((key for key, _ in original), fault, len(original))
    return _bytes(ROWS[fault.label](table, set(keys))), f"{name}, {len(keys)} rows, such as {keys[0]}"


def inject(fault: Fault) -> str:
    """Spoil the files, none if one of them refuses; returns what was done."""
    spoiled = {path: _spoiled(file, path, fault) for file, path in _targets(fault).items()}
    for path, (content, _) in spoiled.items():
        if not _kept(path).exists():
            _kept(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, _kept(path).with_suffix(".part"))
            _kept(path).with_suffix(".part").rename(_kept(path))
        scratch = path.with_name(f".{path.name}")
        scratch.write_bytes(content)
        scratch.replace(path)
    return "; ".join(said for _, said in spoiled.values())


def heal() -> str | None:
    """Each file as it was before its first fault; says how many there were."""
    kept = sorted(_originals().rglob("*.csv"))
    for path in kept:
        target = _drops() / path.relative_to(_originals())
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return f"{len(kept)} files are what they were" if kept else None
