"""The last answers against what their model was trained on: seen behind the answers, and only of what was answered in earnest."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import REGISTRY

from flightdeck import shift
from ml.features import FEATURES
from serving import app as served
from serving import window as windows
from serving.window import Window

RANDOM = np.random.default_rng(5)
# what it was trained on: departures over the whole day, and a temperature for nine in ten
TRAINED = {name: np.full(2000, np.nan) for name in FEATURES} | {
    "minute_of_day": RANDOM.integers(300, 1400, 2000).astype(float),
    "temp": np.where(RANDOM.random(2000) < 0.1, np.nan, RANDOM.normal(50, 10, 2000)),
    "probability": RANDOM.random(2000),
}


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    fresh = Window(every=0.01, last=1000)
    monkeypatch.setattr(served, "window", fresh)
    yield fresh
    fresh.stop()


def instances(number: int, temp: float | None, hour: int | None = None) -> list[dict[str, Any]]:
    one = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400}
    weather = {} if temp is None else {"weather": {"temp": temp}}
    return [one | {"flight": 1 + n, "scheduled_departure": f"2015-04-01T{6 + n % 16 if hour is None else hour:02}:15:00"} | weather for n in range(number)]


def test_drift_and_what_is_missing_show_after_the_answers(
    release: Callable[..., Any], deployed: Any, look: Callable[[], None], client: httpx.Client, window: Window
) -> None:
    deployed(release(profile=shift.profile(TRAINED)))
    look()

    def ask(purpose: str, asked: list[dict[str, Any]]) -> None:
        answer = client.post("/predict", json={"instances": asked}, headers={"x-purpose": purpose})
        assert answer.status_code == 200, answer.text

    ask("live", instances(windows.LEAST - 1, 50))
    window.measure()
    assert gauge("flightdeck_window_rows") == windows.LEAST - 1
    ask("live", instances(501, 50))
    window.measure()
    assert gauge("flightdeck_window_rows") == 1000
    spread = gauge("flightdeck_input_psi", feature="minute_of_day")
    assert spread is not None
    assert gauge("flightdeck_input_missing_share", feature="temp") == 0
    assert gauge("flightdeck_input_missing_share_trained", feature="temp") == pytest.approx(0.1, abs=0.02)
    # probes are nobody's answers
    ask("probe", instances(1000, None))
    window.measure()
    assert gauge("flightdeck_input_missing_share", feature="temp") == 0
    ask("live", instances(1000, None, hour=3))
    window.measure()
    drifted = gauge("flightdeck_input_psi", feature="minute_of_day")
    assert drifted is not None
    assert drifted > max(1.0, spread)
    assert gauge("flightdeck_input_missing_share", feature="temp") == 1
    low, middle, high = (gauge("flightdeck_answer_quantile", quantile=each) for each in ("0.1", "0.5", "0.9"))
    assert low is not None
    assert middle is not None
    assert high is not None
    assert 0 <= low <= middle <= high <= 1
    assert gauge("flightdeck_answer_psi") is not None


def test_another_release_begins_anew_and_one_without_bins_says_nothing(
    release: Callable[..., Any], deployed: Any, look: Callable[[], None], client: httpx.Client, window: Window
) -> None:
    for made in (release(profile=shift.profile(TRAINED)), release()):
        deployed(made)
        look()
        client.post("/predict", json={"instances": instances(600, 50)})
        window.measure()
        # of the 1,200 rows, only those of the newest release count
        assert gauge("flightdeck_window_rows") == 600


def test_it_measures_by_itself(release: Callable[..., Any], deployed: Any, look: Callable[[], None], client: httpx.Client, window: Window) -> None:
    import time

    deployed(release(profile=shift.profile(TRAINED)))
    look()
    window.start()
    client.post("/predict", json={"instances": instances(777, 50)})
    deadline = time.monotonic() + 5
    while gauge("flightdeck_window_rows") != 777:
        assert time.monotonic() < deadline
        time.sleep(0.01)
