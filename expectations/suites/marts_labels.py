"""marts.labels, a partition at a time."""

import great_expectations.expectations as gxe

STOP = {"then": "stop"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
    gxe.ExpectColumnValuesToNotBeNull(column="label", meta=STOP),
    gxe.ExpectColumnValuesToNotBeNull(column="known_at", meta=STOP),
    gxe.ExpectColumnValuesToNotBeNull(column="day", meta=STOP),
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="known_at", column_B="day", ignore_row_if="either_value_is_missing", meta=STOP),
]
