"""landing.airlines, as the newest drop of the registry has it."""

import great_expectations.expectations as gxe

STOP, QUARANTINE = {"then": "stop"}, {"then": "quarantine"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=10, max_value=100, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="required_nulls", max_value=0, meta=QUARANTINE, description="what the contract requires is there"),
    gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex="^[A-Z0-9]{2}$", meta=QUARANTINE),
    gxe.ExpectColumnValueLengthsToBeBetween(column="name", max_value=100, meta=QUARANTINE),
]
