"""Sail's server as a part of the process that builds, for want of one elsewhere (SPARK_REMOTE)."""

import os
import shutil
from pathlib import Path
from typing import Any

# one that nobody holds stops, and its client then waits for it without end: the session is given back when Python ends
SERVERS: list[Any] = []


def serve(place: Path) -> None:
    """Start it; its tables are files in PLACE/spark-warehouse, and their names are forgotten with the session."""
    from pysail.spark import SparkConnectServer

    shutil.rmtree(place / "spark-warehouse", ignore_errors=True)
    place.mkdir(exist_ok=True)
    os.chdir(place)
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    os.environ["SPARK_REMOTE"] = "sc://{}:{}".format(*server.listening_address)
    SERVERS.append(server)
