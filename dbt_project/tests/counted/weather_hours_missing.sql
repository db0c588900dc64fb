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
    cross join {{ hours_between(
        at_zone("(" ~ partition_start() ~ ")", "'" ~ var("timezone") ~ "'"),
        at_zone("(" ~ partition_end() ~ ")", "'" ~ var("timezone") ~ "'") ~ " - interval '1 hour'"
    ) }}

)

select hours.*
from hours
left join {{ ref('stg_stations__weather') }} as weather on hours.origin = weather.origin and hours.hour = weather.observed_at
where weather.origin is null
