{# The stable number of a short code like JFK or B6: its letters and digits read in base 37. `code` in ml/features.py is its twin. #}
{% macro code(column, length) %}
(
    {%- for place in range(1, length + 1) %}
    {{ "+ " if not loop.first }}position(substr({{ column }}, {{ place }}, 1) in '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') * {{ 37 ** (length - place) }}
    {%- endfor %}
)
{% endmacro %}
