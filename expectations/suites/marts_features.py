"""marts.features, a partition at a time: what no feature row may be, whatever the model."""

import great_expectations.expectations as gxe

STOP, COUNT = {"then": "stop"}, {"then": "count"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="partition_key", column_B="history_key", ignore_row_if="either_value_is_missing", meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="minute_of_day", min_value=0, max_value=1439, meta=STOP),
    gxe.ExpectColumnValuesToNotBeNull(column="plane_seats", mostly=0.75, meta=COUNT),
    gxe.ExpectColumnValuesToNotBeNull(column="temp", mostly=0.9, meta=COUNT),
]
