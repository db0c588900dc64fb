"""The prediction log: an answer goes out only after its row is in ops.predictions."""

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg

from flightdeck.settings import settings
from serving.reference import Asked

COPY = "copy ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, history_key, requested_at) from stdin"


class LogUnavailable(RuntimeError):
    """The log could not be written, so nothing may be answered."""


class PredictionLog:
    """One connection, made when first needed and again after it broke."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._lock = asyncio.Lock()

    async def write(self, asked: list[Asked], answers: list[tuple[UUID, float]], version: int, purpose: str, requested_at: datetime) -> None:
        """One COPY in one transaction: all rows, or LogUnavailable."""
        async with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await psycopg.AsyncConnection.connect(settings().database_url("serving"), autocommit=True, connect_timeout=3)
                async with self._connection.cursor() as cursor, cursor.copy(COPY) as copy:
                    for one, (identity, probability) in zip(asked, answers, strict=True):
                        features = msgspec.json.encode(one.features).decode()
                        row = (identity, one.entity_id, one.partition_key, purpose, version, probability, features, one.history_key, requested_at)
                        await copy.write_row(row)
            except psycopg.Error as error:
                if self._connection is not None:
                    await self._connection.close()
                raise LogUnavailable(str(error)) from error
