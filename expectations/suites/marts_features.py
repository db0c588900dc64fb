"""marts.features, a partition at a time: what no feature row may be, whatever the model."""

import great_expectations.expectations as gxe

STOP, COUNT = {"then": "stop"}, {"then": "count"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="partition_key", column_B="history_key", ignore_row_if="either_value_is_missing", meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="minute_of_day", min_value=0, max_value=1439, meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="day_of_week", min_value=1, max_value=7, meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="days_from_holiday", min_value=0, max_value=7, meta=STOP),
    # a model that learned on plans is no use without them; single flights may have come into none
    gxe.ExpectColumnValuesToNotBeNull(column="departures_hour", mostly=0.95, meta=STOP),
    gxe.ExpectColumnValuesToNotBeNull(column="plane_seats", mostly=0.75, meta=COUNT),
    gxe.ExpectColumnValuesToNotBeNull(column="temp", mostly=0.9, meta=COUNT),
    # JFK to Honolulu is 11 hours
    gxe.ExpectColumnValuesToBeBetween(column="route_air_time", min_value=10, max_value=900, meta=COUNT),
]
