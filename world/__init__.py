"""The worked example's outside world: it replays 2013 as a database, a REST API and files, and asks for predictions.

It has no clock of its own: every read carries `as_of`, and gets what was known then.
"""

FIRST, LAST = "2013-01", "2013-12"
