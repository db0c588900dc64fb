"""marts.route_history, a partition at a time."""

import great_expectations.expectations as gxe

STOP = {"then": "stop"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="row_id", meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="flights", min_value=0, meta=STOP),
    # a flight is a minute long at least
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="air_time_total", column_B="flights", or_equal=True, meta=STOP),
]
