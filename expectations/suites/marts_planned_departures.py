"""marts.planned_departures, a partition at a time."""

import great_expectations.expectations as gxe

STOP, COUNT = {"then": "stop"}, {"then": "count"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="planned_clock_minutes", min_value=0, max_value=1439, meta=STOP),
    gxe.ExpectColumnValuesToBeBetween(column="departures_hour", min_value=1, meta=STOP),
    gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="departures_day", column_B="departures_hour", or_equal=True, meta=STOP),
    # one an hour is more than any aircraft does
    gxe.ExpectColumnValuesToBeBetween(column="leg", min_value=1, max_value=24, meta=COUNT),
    gxe.ExpectColumnValuesToNotBeNull(column="leg", mostly=0.9, meta=COUNT),
    gxe.ExpectColumnValuesToBeBetween(column="minutes_since_leg", min_value=0, max_value=1500, meta=STOP),
]
