"""landing.airports, as the newest drop of the registry has it."""

import great_expectations.expectations as gxe

STOP, QUARANTINE = {"then": "stop"}, {"then": "quarantine"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1000, max_value=3000, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="required_nulls", max_value=0, meta=QUARANTINE, description="what the contract requires is there"),
    gxe.ExpectColumnValuesToMatchRegex(column="faa", regex="^[A-Z0-9]{3}$", meta=QUARANTINE),
    gxe.ExpectColumnValueLengthsToBeBetween(column="name", max_value=100, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="lat", min_value=-90, max_value=90, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="lon", min_value=-180, max_value=180, meta=QUARANTINE),
    # feet; the lowest is at the Dead Sea, the highest in Tibet
    gxe.ExpectColumnValuesToBeBetween(column="alt", min_value=-1300, max_value=15_000, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="tz", min_value=-12, max_value=14, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeInSet(column="dst", value_set=["A", "E", "N", "O", "S", "U", "Z"], meta=QUARANTINE),
    # a zone that PostgreSQL does not know would fail every later query on it
    gxe.ExpectColumnValuesToBeInSet(column="tzone_exists", value_set=[True], meta=QUARANTINE, description="tzone is a time zone"),
]
