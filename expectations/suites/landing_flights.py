"""landing.flights, a partition at a time."""

import great_expectations.expectations as gxe

STOP, QUARANTINE = {"then": "stop"}, {"then": "quarantine"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
    gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"], meta=QUARANTINE),
    gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex="^[A-Z0-9]{2}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToMatchRegex(column="dest", regex="^[A-Z0-9]{3}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=10, max_value=12_500, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="hour", min_value=0, max_value=23, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="minute", min_value=0, max_value=59, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="arr_delay", min_value=-300, max_value=3000, meta=QUARANTINE),
]
