-- Hours of the local month that a station has no observation of.
with stations as (

    select distinct origin from {{ ref('stg_stations__weather') }}
    where {{ in_partition() }}

),

hours as (

    select
        stations.origin,
        hours.hour
    from stations
    cross join lateral generate_series(
        ({{ partition_start() }}) at time zone '{{ var("timezone") }}',
        ({{ partition_end() }}) at time zone '{{ var("timezone") }}' - interval '1 hour',
        interval '1 hour'
    ) as hours (hour)

)

select hours.*
from hours
left join {{ ref('stg_stations__weather') }} as weather on hours.origin = weather.origin and hours.hour = weather.observed_at
where weather.origin is null
