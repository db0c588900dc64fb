{# What dialects say in other words: the one place for it. PostgreSQL's is the default; each has its own by dbt's dispatch. #}

{# The whole part of a division of whole numbers. #}
{% macro whole(number, by) %}{{ adapter.dispatch("whole")(number, by) }}{% endmacro %}
{% macro default__whole(number, by) %}{{ number }} / {{ by }}{% endmacro %}
{% macro duckdb__whole(number, by) %}{{ number }} // {{ by }}{% endmacro %}

{# A JSON object of these columns, given as a list of pairs of name and value. #}
{% macro json_of(pairs) %}{{ adapter.dispatch("json_of")(pairs) }}{% endmacro %}
{% macro default__json_of(pairs) %}jsonb_build_object({% for name, value in pairs %}'{{ name }}', {{ value }}{{ ", " if not loop.last }}{% endfor %}){% endmacro %}
{% macro duckdb__json_of(pairs) %}json_object({% for name, value in pairs %}'{{ name }}', {{ value }}{{ ", " if not loop.last }}{% endfor %}){% endmacro %}
