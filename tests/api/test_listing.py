from msgformer.api.listing import models, recipes
from msgformer.api.recipes import list_recipes
from msgformer.catalog import ALIASES, MODELS


def test_all_models_are_listed_with_their_released_names():
    assert models().models == list(MODELS)
    assert all(name in models().table() for name in [*MODELS, *ALIASES])


def test_every_recipe_is_listed_and_says_what_it_does():
    listed = recipes().recipes
    assert list(listed) == list_recipes()
    assert all(listed.values())
    assert all(f"{name}  " in recipes().table() for name in listed)
