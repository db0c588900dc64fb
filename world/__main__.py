"""`python -m world`: fills the database, lays the files, then answers as the REST API."""

import uvicorn

from flightdeck.settings import settings
from world import database, files
from world.api import app

database.load()
files.drop()
uvicorn.run(app, host=settings().host, port=settings().port_world, access_log=False)
