"""The registries' file drops: a dated folder with planes, airports and airlines as CSV."""

import shutil

from flightdeck.settings import settings
from world.data import folder

FIRST_DROP = "2013-01-01"


def drop() -> None:
    """Lay the year's one drop, as a whole or not at all."""
    target = settings().home / "world" / "files" / FIRST_DROP
    scratch = target.with_name(f".{FIRST_DROP}")
    if target.exists():
        return
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name in ("planes", "airports", "airlines"):
        shutil.copyfile(folder() / f"{name}.csv", scratch / f"{name}.csv")
    with (scratch / "planes.csv").open("a") as planes:
        rows = (folder() / "planes.csv").read_text().splitlines()[1:]
        for copy in range(1, settings().world_scale):
            planes.writelines(f"{row.replace(tail, f'{tail}-{copy}', 1)}\n" for row in rows for tail in [row.split(",")[0].strip('"')])
    scratch.rename(target)
