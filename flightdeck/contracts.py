"""Data contracts: what each source table promises, one YAML file a table in ingestion/contracts/."""

from functools import lru_cache
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from flightdeck.settings import ROOT

FOLDER = ROOT / "ingestion" / "contracts"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """PostgreSQL's name of the type; `required` columns have a value in every row."""

    type: str
    required: bool = False


class OnChange(Strict):
    """What follows when the source's columns are no longer these. A type that changed always stops the load."""

    new: Literal["stop", "ignore", "evolve"]
    lost: Literal["stop", "fill"]


class Volume(Strict):
    """Rows a load may bring."""

    min: int
    max: int


class Contract(Strict):
    """What a source table promises. `key` names a row's subject, `version` the column by which the newest of a key's rows wins."""

    table: str
    source: str
    owner: str
    description: str
    key: list[str]
    version: str | None = None
    event_time: str | None = None
    # hours from the newest event to the partition's end
    freshness_hours: float | None = None
    volume: Volume
    # share of a load's rows in quarantine from which nothing of it is published
    most_quarantined: float
    on_change: OnChange
    columns: dict[str, Column]


@lru_cache
def contracts() -> dict[str, Contract]:
    """All contracts by table, in the order of their names."""
    return {path.stem: Contract.model_validate(yaml.safe_load(path.read_text())) for path in sorted(FOLDER.glob("*.yml"))}
