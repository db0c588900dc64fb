"""landing.timetable, a partition at a time."""

import great_expectations.expectations as gxe

STOP, QUARANTINE, COUNT = {"then": "stop"}, {"then": "quarantine"}, {"then": "count"}

EXPECTATIONS = [
    gxe.ExpectTableRowCountToBeBetween(min_value=20_000, max_value=40_000, meta=STOP),
    gxe.ExpectColumnMinToBeBetween(column="hours_before_end", max_value=24, meta=COUNT),
    # older versions and copies are gone by now: two rows of a key contradict each other
    gxe.ExpectColumnValuesToBeUnique(column="entity_id", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="required_nulls", max_value=0, meta=QUARANTINE, description="what the contract requires is there"),
    gxe.ExpectColumnValuesToBeInSet(column="in_partition", value_set=[True], meta=QUARANTINE, description="year and month are the partition's"),
    gxe.ExpectColumnValuesToBeInSet(
        column="time_agrees", value_set=[True], meta=QUARANTINE, description="time_hour is the time that year, month, day, hour, minute and sched_dep_time say"
    ),
    gxe.ExpectColumnValuesToBeInSet(column="planned_ahead", value_set=[True], meta=QUARANTINE, description="published before it departs"),
    gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"], meta=QUARANTINE),
    gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex="^[A-Z0-9]{2}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToMatchRegex(column="dest", regex="^[A-Z0-9]{3}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToMatchRegex(column="tailnum", regex="^[A-Z0-9-]{1,8}$", meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="flight", min_value=1, max_value=9999, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=10, max_value=12_500, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="minute", min_value=0, max_value=59, meta=QUARANTINE),
    gxe.ExpectColumnValuesToBeBetween(column="sched_arr_time", min_value=0, max_value=2400, meta=QUARANTINE),
]
