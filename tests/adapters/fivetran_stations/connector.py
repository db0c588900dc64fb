"""A Fivetran connector of the stations' API: the SDK runs it in its own environment, `fivetran debug` without their cloud."""

import json
import urllib.parse
import urllib.request

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op

INTEGERS = ("year", "month", "day", "hour")
NUMBERS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
TIMES = ("time_hour", "recorded_at")


def schema(configuration):
    columns = {"origin": "STRING"} | dict.fromkeys(INTEGERS, "INT") | dict.fromkeys(NUMBERS, "DOUBLE") | dict.fromkeys(TIMES, "UTC_DATETIME")
    return [{"table": "weather", "primary_key": ["time_hour", "origin"], "columns": columns}]


def update(configuration, state):
    page, pages = state.get("page", 0), state.get("page", 0) + 1
    while page < pages:
        page += 1
        query = urllib.parse.urlencode({"month": configuration["month"], "as_of": configuration["as_of"], "page": page, "limit": 1000})
        with urllib.request.urlopen(f"{configuration['url']}/weather?{query}", timeout=30) as answer:
            body = json.load(answer)
        pages = body["pages"]
        for row in body["data"]:
            op.upsert("weather", row)
        op.checkpoint({"page": page})
    for time_hour, origin in json.loads(configuration["deleted"]):
        op.delete("weather", {"time_hour": time_hour, "origin": origin})


connector = Connector(update=update, schema=schema)
