-- A local hour that a station has twice: daylight saving ends. As points in time they differ.
select
    origin,
    local_day,
    local_hour
from {{ ref('stg_stations__weather') }}
where {{ in_partition() }}
group by origin, local_day, local_hour
having count(*) > 1
