-- Which raw rows the features and the label of each entity are made from: where a trace ends. Keys only, so that it shows nobody
-- what is in a raw table that he may not read. Each part reads its table by itself: a shared one would be read whole for one entity.
with rows_of as (

    select
        flights.entity_id,
        'operations' as source,
        'raw.flights' as source_table,
        flights.partition_key as source_partition,
        {{ json_of([("entity_id", "flights.entity_id")]) }} as source_key,
        flights._dlt_load_id as load_id
    from {{ source('operations', 'flights') }} as flights
    union all
    select
        timetable.entity_id,
        'timetable' as source,
        'raw.timetable' as source_table,
        timetable.partition_key as source_partition,
        {{ json_of([("entity_id", "timetable.entity_id")]) }} as source_key,
        timetable._dlt_load_id as load_id
    from {{ source('timetable', 'timetable') }} as timetable
    union all
    select
        joined.entity_id,
        'stations' as source,
        'raw.weather' as source_table,
        weather.partition_key as source_partition,
        {{ json_of([("origin", "weather.origin"), ("time_hour", "weather.time_hour")]) }} as source_key,
        weather._dlt_load_id as load_id
    from {{ ref('int_flights_joined') }} as joined
    inner join {{ source('stations', 'weather') }} as weather
        on joined.origin = weather.origin and joined.observed_at = weather.time_hour
    union all
    select
        flights.entity_id,
        'registry' as source,
        'raw.planes' as source_table,
        null as source_partition,
        {{ json_of([("tailnum", "planes.tailnum")]) }} as source_key,
        planes._dlt_load_id as load_id
    from {{ source('operations', 'flights') }} as flights
    inner join {{ source('registry', 'planes') }} as planes on flights.tailnum = planes.tailnum
    union all
    select
        flights.entity_id,
        'registry' as source,
        'raw.airports' as source_table,
        null as source_partition,
        {{ json_of([("faa", "airports.faa")]) }} as source_key,
        airports._dlt_load_id as load_id
    from {{ source('operations', 'flights') }} as flights
    inner join {{ source('registry', 'airports') }} as airports on flights.dest = airports.faa
    union all
    select
        planned.entity_id,
        null as source,
        'marts.planned_departures' as source_table,
        planned.partition_key as source_partition,
        {{ json_of([("entity_id", "planned.entity_id")]) }} as source_key,
        null as load_id
    from {{ ref('planned_departures') }} as planned
    union all
    select
        features.entity_id,
        null as source,
        'marts.route_history' as source_table,
        history.partition_key as source_partition,
        {{ json_of([("partition_key", "history.partition_key"), ("origin", "history.origin"), ("dest", "history.dest")]) }} as source_key,
        null as load_id
    from {{ ref('features') }} as features
    inner join {{ source('operations', 'flights') }} as flights on features.entity_id = flights.entity_id
    inner join {{ ref('route_history') }} as history
        on
            features.history_key = history.partition_key
            and flights.origin = history.origin
            and flights.dest = history.dest

)

select * from rows_of
