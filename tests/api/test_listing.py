from msgformer.api.listing import list_names
from msgformer.api.recipes import list_recipes
from msgformer.catalog import ALIASES, MODELS


def test_everything_is_listed():
    listing = list_names()
    table = listing.table()
    for name in [*MODELS, *ALIASES, *list_recipes()]:
        assert name in table
    assert listing.models == list(MODELS)


def test_every_recipe_says_what_it_does():
    assert all(list_names().recipes.values())
