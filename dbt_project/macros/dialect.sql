{# What dialects say in other words: the one place for it. PostgreSQL's is the default; each has its own by dbt's dispatch. #}

{# What a type is called. Local timestamps are Spark's of the session, whose time zone is UTC: they are told from instants by their names only. #}
{% macro kind(name) %}{{ adapter.dispatch("kind")(name) }}{% endmacro %}
{% macro default__kind(name) %}{{ name }}{% endmacro %}
{% macro spark__kind(name) %}
{{- {"text": "string", "double precision": "double", "timestamp with time zone": "timestamp"}.get(name, name) -}}
{% endmacro %}
{# dbt's own, for the types of contracts #}
{% macro spark__cast(field, type) %}cast({{ field }} as {{ kind(type) }}){% endmacro %}

{# The whole part of a division of whole numbers. #}
{% macro whole(number, by) %}{{ adapter.dispatch("whole")(number, by) }}{% endmacro %}
{% macro default__whole(number, by) %}{{ number }} / {{ by }}{% endmacro %}
{% macro duckdb__whole(number, by) %}{{ number }} // {{ by }}{% endmacro %}
{% macro spark__whole(number, by) %}({{ number }} div {{ by }})::integer{% endmacro %}

{# Days and minutes from one to the other, and the day of the week, where 1 is Monday. #}
{% macro days_between(earlier, later) %}{{ adapter.dispatch("days_between")(earlier, later) }}{% endmacro %}
{% macro default__days_between(earlier, later) %}{{ later }} - {{ earlier }}{% endmacro %}
{% macro spark__days_between(earlier, later) %}datediff({{ later }}, {{ earlier }}){% endmacro %}

{% macro minutes_between(earlier, later) %}{{ adapter.dispatch("minutes_between")(earlier, later) }}{% endmacro %}
{% macro default__minutes_between(earlier, later) %}extract(epoch from {{ later }} - {{ earlier }}) / 60{% endmacro %}
{% macro spark__minutes_between(earlier, later) %}(unix_timestamp({{ later }}) - unix_timestamp({{ earlier }})) / 60{% endmacro %}

{% macro day_of_week(day) %}{{ adapter.dispatch("day_of_week")(day) }}{% endmacro %}
{% macro default__day_of_week(day) %}extract(isodow from {{ day }}){% endmacro %}
{# not by weekday(), of which Sail gives -1 for a Sunday #}
{% macro spark__day_of_week(day) %}(mod(dayofweek({{ day }}) + 5, 7) + 1){% endmacro %}

{# The instant of a time on a zone's clock. Of the two that an hour has when summer ends, PostgreSQL means the later, and Spark the earlier. #}
{% macro at_zone(clock, zone) %}{{ adapter.dispatch("at_zone")(clock, zone) }}{% endmacro %}
{% macro default__at_zone(clock, zone) %}{{ clock }} at time zone {{ zone }}{% endmacro %}
{% macro spark__at_zone(clock, zone) %}
{% set instant %}to_utc_timestamp({{ clock }}, {{ zone }}){% endset %}
case
    when from_utc_timestamp({{ instant }} + interval '1 hour', {{ zone }}) = {{ clock }} then {{ instant }} + interval '1 hour'
    else {{ instant }}
end
{% endmacro %}

{# The hours from a first to a last one, as a table with the column `hour`. #}
{% macro hours_between(first, last) %}{{ adapter.dispatch("hours_between")(first, last) }}{% endmacro %}
{% macro default__hours_between(first, last) %}generate_series({{ first }}, {{ last }}, interval '1 hour') as hours (hour){% endmacro %}
{% macro spark__hours_between(first, last) %}(select explode(sequence({{ first }}, {{ last }}, interval '1 hour')) as hour) as hours{% endmacro %}

{# A JSON object of these columns, given as a list of pairs of name and value. #}
{% macro json_of(pairs) %}{{ adapter.dispatch("json_of")(pairs) }}{% endmacro %}
{% macro default__json_of(pairs) %}jsonb_build_object({% for name, value in pairs %}'{{ name }}', {{ value }}{{ ", " if not loop.last }}{% endfor %}){% endmacro %}
{% macro duckdb__json_of(pairs) %}json_object({% for name, value in pairs %}'{{ name }}', {{ value }}{{ ", " if not loop.last }}{% endfor %}){% endmacro %}
{% macro spark__json_of(pairs) %}to_json(named_struct({% for name, value in pairs %}'{{ name }}', {{ value }}{{ ", " if not loop.last }}{% endfor %})){% endmacro %}

{#
    Joins to each row of `to` the row of `of` that has the newest `by` among those that the call's condition allows. The condition may ask for these columns
    of `to` (`asks`). PostgreSQL looks each up in an index. Spark can neither order nor limit what is correlated: it looks for all at once, and only once
    for rows that ask for the same.
#}
{% macro left_join_newest(of, by, to, asks, alias) %}{{ adapter.dispatch("left_join_newest")(of, by, to, asks, alias, caller()) }}{% endmacro %}
{% macro default__left_join_newest(of, by, to, asks, alias, condition) %}
left join lateral (
    select * from {{ of }}
    where {{ condition }}
    order by {{ of }}.{{ by }} desc
    limit 1
) as {{ alias }} on true
{% endmacro %}
{% macro spark__left_join_newest(of, by, to, asks, alias, condition) %}
left join (
    select * from (
        select
            {{ of }}.*,
            {% for column in asks %}{{ to }}.{{ column }} as asked_{{ column }}, {% endfor %}
            row_number() over (partition by {{ to }}.{{ asks | join(", " ~ to ~ ".") }} order by {{ of }}.{{ by }} desc) as place
        from (select distinct {{ asks | join(", ") }} from {{ to }}) as {{ to }}
        inner join {{ of }} on {{ condition }}
    ) as ranked
    where place = 1
) as {{ alias }} on {% for column in asks %}{{ to }}.{{ column }} = {{ alias }}.asked_{{ column }}{{ " and " if not loop.last }}{% endfor %}
{% endmacro %}

{# Empties a partition before it is built anew. With Sail no table outlives its session, so there is nothing in it yet. Spark knows no
   partition without a key, which the run is of that only makes the relations. #}
{% macro empty_partition() %}{{ adapter.dispatch("empty_partition")() }}{% endmacro %}
{% macro default__empty_partition() %}delete from {{ this }} where {{ in_partition() }}{% endmacro %}
{% macro spark__empty_partition() %}
{% if target.name != "sail" and var("partition") %}
{# files of a build that was killed are in no catalog yet, and nothing is dropped that is not in it #}
{% set _ = run_query("alter table " ~ this ~ " add if not exists partition (" ~ in_partition() ~ ")") %}
alter table {{ this }} drop if exists partition ({{ in_partition() }})
{% endif %}
{% endmacro %}

{# Statistics of a table that is joined while it is fresh. Spark has those of the files. #}
{% macro analyze() %}{{ adapter.dispatch("analyze")() }}{% endmacro %}
{% macro default__analyze() %}analyze {{ this }}{% endmacro %}
{% macro spark__analyze() %}{% endmacro %}

{# A table of rows that lie in Parquet files. Spark reads them where they are. #}
{% macro table_of_files(name, folder) %}{{ adapter.dispatch("table_of_files")(name, folder) }}{% endmacro %}
{% macro default__table_of_files(name, folder) %}create table {{ name }} as select * from read_parquet('{{ folder }}/**/*.parquet'){% endmacro %}
{% macro spark__table_of_files(name, folder) %}create table {{ name }} using parquet location '{{ folder }}'{% endmacro %}

{# dbt's own, for the rows of a seed: with Spark it forgets that a text may have an apostrophe. #}
{% macro spark__load_csv_rows(model, agate_table) %}
{% set types = model["config"].get("column_types", {}) %}
{% set statement %}
insert into {{ this }} values
{% for row in agate_table.rows -%}
({% for value in row %}{% if value is none %}null{% else %}cast('{{ value | string | replace("'", "\\'") }}' as {{ types.get(agate_table.column_names[loop.index0], "string") }}){% endif %}{{ ", " if not loop.last }}{% endfor %}){{ "," if not loop.last }}
{% endfor %}
{% endset %}
{% set _ = adapter.add_query(statement, abridge_sql_log=True) %}
{{ return(statement) }}
{% endmacro %}
