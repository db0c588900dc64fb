"""landing.planes, as the newest drop of the registry has it."""

import great_expectations.expectations as gxe

STOP, QUARANTINE = {"then": "stop"}, {"then": "quarantine"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=3000, max_value=10_000, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="required_nulls", max_value=0, meta=QUARANTINE, description="what the contract requires is there"),
    gxe.ExpectColumnValuesToMatchRegex(column="tailnum", regex="^[A-Z0-9-]{1,8}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="year", min_value=1903, max_value=2100, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="longest_text", max_value=100, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="engines", min_value=0, max_value=8, meta=QUARANTINE),
    # the largest airliner is certified for 853
    gxe.ExpectColumnValuesToBeBetween(column="seats", min_value=1, max_value=853, meta=QUARANTINE),
    # miles an hour; none was ever faster than 2,193
    gxe.ExpectColumnValuesToBeBetween(column="speed", min_value=1, max_value=2193, meta=QUARANTINE),
]
