-- The month's requests look the plan up: a row that came later would have been unknown to some of them.
select *
from {{ ref('stg_timetable__departures') }}
where {{ in_partition() }} and published_at > {{ at_zone("(" ~ partition_start() ~ ")", "'" ~ var("timezone") ~ "'") }}
