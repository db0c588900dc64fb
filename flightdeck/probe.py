"""Health checks of containers: `python -m flightdeck.probe URL [part=NAME] [secret=NAME]`; one that fails says why.

part: the answer is Airflow's health, of which this part must be healthy. secret: asks as admin, with this secret as password.
The standard library only: every container asks every few seconds, and what this imports would be half of an idle platform's work.
"""

import base64
import http.client
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 10


def failure(url: str, part: str = "", secret: str = "") -> str:
    """Why the service is not healthy; empty if it is."""
    place = urlsplit(url)
    headers = {}
    try:
        if secret:
            password = Path(os.environ["FLIGHTDECK_HOME"], "secrets", secret).read_text().strip()
            headers["Authorization"] = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS)
        connection.request("GET", f"{place.path}?{place.query}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return f"{url}: {answer.status} {body[:300].decode(errors='replace')}"
        status = json.loads(body)[part]["status"] if part else "healthy"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"{url}: {type(error).__name__}: {error}"
    return "" if status == "healthy" else f"Airflow says that its {part} is {status}"


if __name__ == "__main__":
    sys.exit(failure(sys.argv[1], **dict(option.split("=", 1) for option in sys.argv[2:])) or 0)
