"""landing.weather, a partition at a time. Units: °F, %, degrees, mph, inches, millibars, miles."""

import great_expectations.expectations as gxe

STOP, QUARANTINE = {"then": "stop"}, {"then": "quarantine"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=STOP),
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=STOP),
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
