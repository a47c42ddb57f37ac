import pytest

from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS, list_models, nearest, resolve


def test_names_and_aliases_resolve():
    assert [resolve(name) for name in MODELS] == list_models()
    assert [resolve(alias) for alias in ALIASES] == list(ALIASES.values())


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(UserError, match="unknown model 'sgformer_smal'; did you mean 'sgformer_small'"):
        resolve("sgformer_smal")


def test_nothing_is_suggested_if_nothing_is_similar():
    assert nearest("zzz", MODELS) == ""
