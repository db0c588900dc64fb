"""Parameters by path: what is set is set, what is meant is found, and what there is not is named."""

import pytest

from flightdeck.parameters import UnknownParameter, changed, flat, parameters

KNOBS = {"train": {"learner": "trees", "trees": {"rounds": 3, "inner": {"depth": 2}}, "lines": {"rounds": 9, "slope": 1}}, "gate": {"rows": 5}}


def test_flat() -> None:
    assert flat(KNOBS)["train.trees.inner.depth"] == 2
    assert flat(KNOBS["train"]["trees"], leaves=True) == {"rounds": 3, "depth": 2}
    assert flat({"empty": {}}) == {"empty": {}}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("train.trees.rounds=7", "train.trees.rounds", 7),
        ("train.depth=0.5", "train.trees.inner.depth", 0.5),
        ("train.rounds=1", "train.trees.rounds", 1),
        ("train.slope=true", "train.lines.slope", True),
        ("train.learner=lines", "train.learner", "lines"),
        ("gate.rows=6", "gate.rows", 6),
    ],
)
def test_a_short_name_means_the_one_path_that_it_can(setting: str, path: str, value: object) -> None:
    [(chosen, knobs)] = changed(KNOBS, [setting])
    assert chosen == {path: value}
    assert flat(knobs)[path] == value
    assert {name: each for name, each in flat(knobs).items() if name != path} == {name: each for name, each in flat(KNOBS).items() if name != path}


def test_several_values_are_a_sweep_over_all_combinations() -> None:
    made = changed(KNOBS, ["train.rounds=1,2", "gate.rows=3,4"])
    assert [chosen for chosen, _ in made] == [{"train.trees.rounds": a, "gate.rows": b} for a in (1, 2) for b in (3, 4)]
    assert [(knobs["train"]["trees"]["rounds"], knobs["gate"]["rows"]) for _, knobs in made] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert KNOBS["gate"]["rows"] == 5


def test_nothing_set_is_one_combination() -> None:
    assert changed(KNOBS, []) == [({}, KNOBS)]


@pytest.mark.parametrize("setting", ["train.leafs=3", "leaves=3", "train=3", "nothing.rounds=1", "train.rounds", "train.rounds="])
def test_what_there_is_not_is_refused(setting: str) -> None:
    with pytest.raises(UnknownParameter):
        changed(KNOBS, [setting])


def test_the_project_s_own_short_names() -> None:
    [(chosen, _)] = changed(parameters(), ["train.num_leaves=63"])
    assert chosen == {"train.lightgbm.parameters.num_leaves": 63}
