{# Everything that makes a model or a test work on one partition. Macros render at run time, configuration does not. #}

{% macro in_partition(column="partition_key") %}{{ column }} = '{{ var("partition") }}'{% endmacro %}

{# Where the partition begins and ends on local clocks: of YYYY-MM, YYYY-MM-DD or YYYY-MM-DDTHH. #}
{% macro partition_start() %}'{{ var("partition") ~ "0000-01-01T00:00"[var("partition") | length:] }}'::timestamp{% endmacro %}
{% macro partition_end() %}{{ partition_start() }} + interval '1 {{ {7: "month", 10: "day"}.get(var("partition") | length, "hour") }}'{% endmacro %}

{% macro replace_partition() %}
{% if is_incremental() %}{{ empty_partition() }}{% endif %}
{% endmacro %}

{% macro get_where_subquery(relation) %}
{% set where = config.get("where", none) %}
{% if where %}
(select * from {{ relation }} where {{ where | replace("__partition__", "'" ~ var("partition") ~ "'") }}) dbt_subquery
{% else %}
{{ relation }}
{% endif %}
{% endmacro %}

{% macro generate_schema_name(custom_schema_name, node) %}{{ custom_schema_name or target.schema }}{% endmacro %}
