-- One landed partition as checks and publishing see it: the partition comes from a session setting, so that one view serves all
-- partitions side by side. row_id is the row's physical address, which holds until the partition is loaded again: a key could be
-- null, and lose its row in a join.
create or replace view landing.flights_batch as
select
    f.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', carrier, '/', flight) as entity_id,
    f.*
from landing.flights f where partition_key = current_setting('flightdeck.partition');
