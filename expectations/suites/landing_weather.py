"""landing.weather, a partition at a time. Units: °F, %, degrees, mph, inches, millibars, miles."""

import great_expectations.expectations as gxe

STOP, QUARANTINE, COUNT = {"then": "stop"}, {"then": "quarantine"}, {"then": "count"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1500, max_value=2300, meta=STOP),
    gxe.ExpectColumnMinToBeBetween(column="hours_before_end", max_value=24, meta=COUNT),
    # older versions and copies are gone by now: two rows of a key contradict each other
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="required_nulls", max_value=0, meta=QUARANTINE, description="what the contract requires is there"),
    gxe.ExpectColumnValuesToBeInSet(column="in_partition", value_set=[True], meta=QUARANTINE, description="year and month are the partition's"),
    gxe.ExpectColumnValuesToBeInSet(
        column="time_agrees", value_set=[True], meta=QUARANTINE, description="time_hour is the time that year, month, day and hour say"
    ),
    gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"], meta=QUARANTINE),
    # the strongest wind ever measured at the ground, on Barrow Island in 1996, was a gust of 253 mph
    gxe.ExpectColumnValuesToBeBetween(column="wind_speed", min_value=0, max_value=253, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="wind_gust", min_value=0, max_value=253, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="temp", min_value=-60, max_value=130, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="dewp", min_value=-100, max_value=130, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="wind_dir", min_value=0, max_value=360, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="precip", min_value=0, max_value=20, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="humid", min_value=0, max_value=100.5, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="pressure", min_value=870, max_value=1085, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="visib", min_value=0, max_value=100, meta=QUARANTINE),
]
