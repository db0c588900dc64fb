"""What is read from the warehouse: the partition asked for, the labels known by then, in one order."""

from collections.abc import Iterator

import pytest

from flightdeck.warehouse import connect
from ml.dataset import read
from tests.ml.rows import insert, remove, table

KEY, ROWS = "1999-06", 300


@pytest.fixture(scope="module")
def inserted(database: str) -> Iterator[None]:
    with connect() as connection:
        insert(connection, table(KEY, ROWS).take(list(reversed(range(ROWS)))))
        insert(connection, table("1999-07", 10))
        yield
        remove(connection, [KEY, "1999-07"])


def test_rows_come_as_they_were_ordered_by_entity(inserted: None) -> None:
    assert read(KEY, "1999-08-01T00:00:00+00:00").equals(table(KEY, ROWS))


def test_a_label_known_later_is_not_read(inserted: None) -> None:
    # known at noon of the day after: at noon of the 11th the 10th is, a second before it is not
    at_noon, before = (read(KEY, f"1999-06-11T{time}+00:00")["day"].to_pylist() for time in ("12:00:00", "11:59:59"))
    assert max(at_noon).day == 10
    assert max(before).day == 9


def test_nothing_is_known_of_an_unknown_partition(inserted: None) -> None:
    assert len(read("1999-09", "2100-01-01T00:00:00+00:00")) == 0
