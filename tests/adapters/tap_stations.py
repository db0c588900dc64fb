"""A tap of the stations' API, as a team that has Singer would have written it: with the Singer SDK, run in its own environment."""

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BasePageNumberPaginator
from singer_sdk.streams import RESTStream

TEXTS = ("origin",)
INTEGERS = ("year", "month", "day", "hour")
NUMBERS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
TIMES = ("time_hour", "recorded_at")
TYPES = {th.StringType: TEXTS, th.IntegerType: INTEGERS, th.NumberType: NUMBERS, th.DateTimeType: TIMES}


class Pages(BasePageNumberPaginator):
    def has_more(self, response):
        return self.current_value < response.json()["pages"]


class Observations(RESTStream):
    name, path, records_jsonpath = "weather", "/weather", "$.data[*]"
    primary_keys = ("time_hour", "origin")
    schema = th.PropertiesList(*(th.Property(name, kind) for kind, names in TYPES.items() for name in names)).to_dict()

    @property
    def url_base(self):
        return self.config["url"]

    def get_new_paginator(self):
        return Pages(1)

    def get_url_params(self, context, next_page_token):
        return {"month": self.config["month"], "as_of": self.config["as_of"], "page": next_page_token or 1, "limit": 1000}


class TapStations(Tap):
    name = "tap-stations"
    config_jsonschema = th.PropertiesList(*(th.Property(name, th.StringType, required=True) for name in ("url", "month", "as_of"))).to_dict()

    def discover_streams(self):
        return [Observations(self)]


if __name__ == "__main__":
    TapStations.cli()
