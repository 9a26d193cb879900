"""Tensordicts as rows."""

import math

import numpy as np
import torch
from tensordict import NonTensorData, TensorDict

from advwrap.modules.rows import Rows, beside, group_of


def flat(batch=(2, 3)):
    data = {"observation": torch.rand(*batch, 4), "hidden": torch.rand(*batch, 1, 5), "done": torch.zeros(*batch, 1)}
    return TensorDict({**data, "name": NonTensorData("task", batch_size=batch)}, batch)


def grouped(batch=(2,)):
    agents = TensorDict({"observation": torch.rand(*batch, 3, 4), "h": torch.rand(*batch, 3, 5)}, [*batch, 3])
    return TensorDict({"agents": agents, "state": torch.rand(*batch, 6)}, batch)


def test_any_batch_size():
    for batch in ((), (5,), (2, 3), (2, 1, 3), (0,)):
        data = flat(batch)
        rows = Rows([data], "observation")
        assert rows["hidden"].shape == (math.prod(batch), 1, 5)
        assert torch.equal(rows["hidden"].reshape(data["hidden"].shape), data["hidden"])


def test_rows_and_back():
    for data, key in ((flat(), "observation"), (grouped((2, 2)), ("agents", "observation"))):
        rows = Rows([data, data.clone().apply(lambda x: x + 1)], key)
        value = [part.get(key) for part in rows.parts]
        back = rows.unflat(rows.flat(key, value))
        assert all(torch.equal(a, b) for a, b in zip(back, value, strict=True))


def test_agents_are_rows_and_what_they_share_is_repeated():
    data = grouped()
    rows = Rows([data], ("agents", "observation"))
    assert torch.equal(rows["agents", "h"], data["agents", "h"].flatten(0, 1))
    assert torch.equal(rows["state"][2], data["state"][0])
    assert torch.equal(rows["state"][3], data["state"][1])


def test_a_group_without_axes_of_its_own_is_no_team():
    inner = TensorDict({"image": torch.rand(2, 8), "goal": torch.rand(2, 3)}, [2])
    rows = Rows([TensorDict({"obs": inner, "t": torch.rand(2)}, [2])], ("obs", "image"))
    assert rows["obs", "goal"].shape == (2, 3)
    assert rows["t"].shape == (2,)


def test_two_tensordicts_follow_each_other():
    first, second = flat(), flat()
    del second["hidden"]
    rows = Rows([first, second], "observation")
    assert torch.equal(rows["done"], torch.cat([first["done"], second["done"]]).reshape(12, 1))
    assert rows.get("hidden") is None


def test_only_some_rows():
    who = np.array([True, False, False, True, True, False])
    data = flat()
    assert torch.equal(Rows([data], "observation", who=who)["hidden"], data["hidden"].reshape(6, 1, 5)[[0, 3, 4]])


def test_what_is_in_it():
    data = flat()
    data["next"] = data.clone()
    rows = Rows([data], "observation", extra={"episode_step": torch.zeros(6)})
    assert sorted(map(str, rows)) == ["done", "episode_step", "hidden"]
    assert "observation" not in rows
    assert "name" not in rows
    assert set(rows.clone()) == set(rows)


def test_names():
    assert beside("observation", "clean_") == "clean_observation"
    assert beside(("agents", "observation"), "clean_") == ("agents", "clean_observation")
    assert group_of("action") == ()
    assert group_of(("a", "b", "c")) == ("a", "b")
