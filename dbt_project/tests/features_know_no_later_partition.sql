-- History must be of a partition before the row's own.
select *
from {{ ref('features') }}
where {{ in_partition() }} and history_key >= partition_key
