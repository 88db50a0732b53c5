"""Outputs of models in every form that hosts know."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from magcache.runtime.outputs import corrected, tensors_of

ONE, TWO = torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])
FORMS: dict[str, Any] = {
    "a tensor": lambda one, two: one,
    "a tuple": lambda one, two: (one,),
    "a list of tensors": lambda one, two: [one, two],
    "nested, with None": lambda one, two: ({"sample": one, "hidden": None}, [two]),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_correction_keeps_the_form(name: str):
    result, expected = FORMS[name](ONE, TWO), FORMS[name](ONE - 1, TWO - 2)
    found = corrected(result, expected, 0.5)
    assert type(found) is type(result)
    whole = FORMS[name](ONE + 0.5, TWO + 1)
    assert all(map(torch.equal, tensors_of(found), tensors_of(whole))) and len(tensors_of(found)) == len(tensors_of(whole))


def test_what_is_no_number_stays():
    found = corrected((torch.tensor([1]), "text", ONE), (torch.tensor([0]), "other", ONE - 1), 1.0)
    assert found[0].item() == 1 and found[1] == "text" and torch.equal(found[2], ONE + 1)


def test_tensors_are_found_in_their_order():
    assert tensors_of(({"b": TWO, "a": ONE}, None, [3])) == [TWO, ONE]
