"""What serves, by ops.deployments: the truth that the registry's aliases only mirror."""

from flightdeck.warehouse import Row, query

NEWEST = """
select id, model_version, release, partition_key from ops.deployments
where state = 'champion' and (%s::text is null or partition_key < %s) order by id desc limit 1"""


def champion(before: str | None = None) -> Row | None:
    """The newest deployment (id, model_version, release, partition_key), or None; with `before`, what served that partition."""
    rows = query(NEWEST, before, before)
    return rows[0] if rows else None
