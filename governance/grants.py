"""Who may read personal columns: not the role `reader`. Which they are, the dbt files and the lineage say; PostgreSQL's grants hold it."""

from pathlib import Path

from flightdeck.settings import ROOT
from flightdeck.warehouse import connect, lock_until_end
from governance.lineage import CLASSES, PROJECT, graph, read

# rows as they came, of whatever table, in which a column cannot be told apart
WHOLE_ROWS = [("quarantine.rows", "row"), ("quarantine.rows", "repaired")]


def personal(root: Path = ROOT) -> list[tuple[str, str]]:
    """(schema.table, column) of all that is personal, by its own file or by what it is computed from; and where such rows are kept as they came."""
    if not any(CLASSES[-1] in path.read_text() for path in (root / PROJECT).rglob("*.yml")):
        # to read the lineage takes a second
        return []
    lineage = graph() if root == ROOT else read(root / PROJECT)
    found = [(name, column) for name, each in lineage.datasets.items() for column in each.columns if lineage.classification(f"{name}.{column}") == CLASSES[-1]]
    return found + (WHOLE_ROWS if any(name.startswith("raw.") for name, _ in found) else [])


def withhold(root: Path = ROOT) -> list[str]:
    """Let `reader` read all but the personal columns, and nothing of what has just landed while there are any; returns them. May run again."""
    columns = personal(root)
    with connect() as connection, connection.transaction():
        lock_until_end(connection, "let_read")
        connection.execute("delete from ops.withheld")
        with connection.cursor() as cursor:
            cursor.executemany('insert into ops.withheld (relation, "column") values (%s, %s)', columns)
        connection.execute("select ops.let_read()")
    return [".".join(each) for each in columns]
