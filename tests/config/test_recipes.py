import pytest

from msgformer.config import recipes
from msgformer.errors import UserError


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    folder = tmp_path / "shipped"
    (folder / "embedded").mkdir(parents=True)
    (folder / "embedded" / "digits.yaml").write_text("# Digits.\nepochs: 3\n")
    monkeypatch.setattr(recipes, "RECIPES", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_recipe_is_found_by_its_name(shipped):
    assert recipes.list_recipes() == ["embedded/digits"]
    assert recipes.find_config("embedded/digits") == shipped / "embedded" / "digits.yaml"


def test_a_file_wins_over_a_recipe(shipped, tmp_path):
    own = tmp_path / "embedded" / "digits"
    own.parent.mkdir()
    own.write_text("epochs: 4")
    assert recipes.find_config("embedded/digits").read_text() == "epochs: 4"


def test_an_unknown_name_suggests_the_nearest(shipped):
    with pytest.raises(UserError, match="recipe 'embeded/digit'; did you mean 'embedded/digits'"):
        recipes.find_config("embeded/digit")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\na: 2", "line 2: 'a' is given twice"),
        (b"a: [", "line 1: expected the node content"),
        (b"- 1", "must hold options .* not list"),
        (b"\xff\xfe\xfa", "not readable as YAML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        recipes.load_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").touch()
    assert recipes.load_yaml(tmp_path / "empty.yaml") == {}


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def test_a_configuration_extends_another(shipped):
    (shipped / "small.yaml").write_text("epochs: 9\nbatch_size: 2\noptim: {lr: 1.0, eps: 2.0}")
    path = write(shipped.parent, top="extends: middle.yaml\noptim: {lr: 3.0}", middle="extends: small\nepochs: 4")
    assert recipes.load_config(path) == {"epochs": 4, "batch_size": 2, "optim": {"lr": 3.0, "eps": 2.0}}


def test_model_args_are_dropped_with_their_model(tmp_path):
    base = {"model": "a", "model_args": {"depth": 1, "width": 2}, "seed": 3}
    assert recipes.merge_options(base, {"model": "b"}) == {"model": "b", "seed": 3}
    assert recipes.merge_options(base, {"model": "a", "model_args": {"depth": 4}})["model_args"] == {
        "depth": 4,
        "width": 2,
    }
    assert base["model_args"] == {"depth": 1, "width": 2}


def test_a_configuration_that_extends_itself_is_refused(shipped):
    path = write(shipped.parent, one="extends: two.yaml", two="extends: one.yaml")
    with pytest.raises(UserError, match=r"one\.yaml extends itself"):
        recipes.load_config(path)


def test_a_missing_base_is_named(shipped):
    with pytest.raises(UserError, match="no configuration file or recipe 'nowhere'"):
        recipes.load_config(write(shipped.parent, one="extends: nowhere"))
