import json
import re
from importlib.metadata import version

import pytest
from PIL import Image
from safetensors.torch import load_file

import msgformer
from commands.tiny_dense import tiny_dense_run, write_scenes
from commands.trained import MODEL_ARGS, make_images, make_run
from msgformer.errors import UserError

SG_ARGS = {"embed_dims": [16, 16, 16, 16], "depths": [2, 1, 2, 1], "num_heads": [2, 2, 2, 2]}
CPU = {"device": "cpu", "progress": "none"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images of 20 x 16 pixels, and a run on them."""
    root = tmp_path_factory.mktemp("explain")
    make_run(make_images(root / "data"), root / "run", epochs=1)
    Image.effect_noise((90, 50), 80).convert("RGB").save(root / "wide.png")
    return root


def explain(source, images, output, **settings):
    return msgformer.explain(source, images, output=output, **{**CPU, **settings})


def read(result):
    return json.loads(result.data.read_text("utf-8"))


def arrays_of(result):
    """Arrays of the only image."""
    return load_file(result.data.parent / "0001-wide" / "arrays.safetensors")


def test_a_run_is_explained_in_figures_arrays_and_a_page(place, tmp_path):
    images = [place / "data" / "dark" / "00.png", place / "data" / "light" / "01.png"]
    result = explain(place / "run", images, tmp_path / "out", each_head=True)
    assert result.weights == place / "run" / "best.ckpt"
    assert "initial" not in result.table()
    assert result.images == [str(image) for image in images]
    assert len(result.pictures) == 2 * (2 + (1 + 2) + 3)
    assert all(Image.open(figure).size[0] >= 400 for figure in result.pictures)
    page = result.page.read_text("utf-8")
    assert "initial weights" not in page
    assert f"msgformer {version('msgformer')}" in page
    content = read(result)
    assert [image["folder"] for image in content["images"]] == ["0001-00", "0002-01"]
    for image in content["images"]:
        assert image["picture_size"] == image["input_size"] == [16, 16]  # the evaluation crop
        arrays = load_file(tmp_path / "out" / image["folder"] / "arrays.safetensors")
        assert sorted(arrays) == sorted(name for block in image["blocks"] for name in block["arrays"])
        assert arrays["attention.1.1"].shape == (1, 4, 5)
        assert arrays["sources.1.1"].shape == (4, 16)
        assert arrays["gradients.2.1"].shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"whole": True}, [16, 29]),
        ({"whole": True, "img_size": 40}, [40, 72]),
        ({"img_size": 30}, [30, 30]),
        ({"img_size": (20, 44)}, [20, 44]),
    ],
)
def test_images_of_any_size_and_shape(place, tmp_path, settings, size):
    result = explain(place / "run", [place / "wide.png"], tmp_path / "out", gradients=0, **settings)
    (image,) = read(result)["images"]
    assert image["picture_size"] == image["input_size"] == size
    arrays = arrays_of(result)
    assert "gradients.1.1" not in arrays
    rows, cols = (-(-side // 8) for side in size)
    assert image["blocks"][0]["grid"] == [rows, cols]
    assert arrays["reach.1.1"].shape == (rows * cols, rows * cols)


def test_a_model_by_name_has_initial_weights_and_reports_it(place, tmp_path):
    settings = {"model_args": MODEL_ARGS, "img_size": 32, "gradients": 1}
    first, again, other = (
        explain("msg_tiny_p4_win7_224", [place / "wide.png"], tmp_path / f"out{number}", seed=seed, **settings)
        for number, seed in enumerate([0, 0, 1])
    )
    assert first.model == "msg_transformer_tiny"
    assert first.weights is None
    assert re.search(r"^the weights of msg_transformer_tiny are random initial weights", first.table(), re.MULTILINE)
    assert "The model is untrained" in first.page.read_text("utf-8")
    same, equal, different = (arrays_of(one)["attention.1.1"] for one in (first, again, other))
    assert (same == equal).all()
    assert (same != different).any()


def test_a_model_by_name_takes_weights(place, tmp_path):
    """With the weights of a run, the arrays are those of the run."""
    run = explain(place / "run", [place / "wide.png"], tmp_path / "a", gradients=0, img_size=32)
    named = explain(
        "msg_transformer_tiny",
        [place / "wide.png"],
        tmp_path / "b",
        weights=place / "run" / "best.ckpt",
        model_args=MODEL_ARGS,
        gradients=0,
        img_size=32,
    )
    assert named.weights == place / "run" / "best.ckpt"
    ours, theirs = arrays_of(run), arrays_of(named)
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_an_sgformer_is_explained(place, tmp_path):
    settings = {"model_args": SG_ARGS, "img_size": 64, "whole": True, "seed": 0}
    result = explain("sgformer_small", [place / "wide.png"], tmp_path / "out", **settings)
    maps = {f"significance-{block}" for block in ("1.1", "2.1", "3.1")}
    assert {figure.stem for figure in result.pictures} == {"significance", *maps, "groups-1.2", "groups-3.2"}
    (image,) = read(result)["images"]
    arrays = arrays_of(result)
    assert arrays["groups.1.1"].shape == arrays["significance.1.1"].shape == (16, 29)
    assert arrays["groups.1.1"].max() == len(image["blocks"][0]["kind_of_group"]) - 1
    only = explain("sgformer_small", [place / "wide.png"], tmp_path / "only", blocks=["3.1"], **settings)
    assert [(block["stage"], block["block"]) for block in read(only)["images"][0]["blocks"]] == [(3, 1)]


def test_a_module_in_memory_is_not_called_initial(place, tmp_path):
    """The origin of its weights is unknown; an untrained model is refused in any form."""
    module = msgformer.load(place / "run", device="cpu").module
    result = explain(module, place / "wide.png", tmp_path / "out", gradients=0)
    assert (result.weights, result.is_trained) == (None, True)
    assert "initial" not in result.table()
    page = result.page.read_text("utf-8")
    assert "nothing here was learned" not in page
    assert "weights of a module in memory" in page
    with pytest.raises(UserError, match="explain: msg_transformer_tiny is untrained"):
        explain(msgformer.load("msg_transformer_tiny", device="cpu"), place / "wide.png", tmp_path / "other")


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_the_backbone_of_a_detector_or_segmenter_is_explained(task, tmp_path):
    """At its evaluation size, with its padding."""
    run = tiny_dense_run(task, write_scenes(task, tmp_path / "data"), tmp_path / "run", epochs=1, report=False).run
    Image.effect_noise((120, 75), 80).convert("RGB").save(tmp_path / "a.png")
    result = explain(run, [tmp_path / "a.png"], tmp_path / "out", blocks=["1.1", "2.1"], gradients=1)
    (image,) = read(result)["images"]
    expected = {"detect": ([80, 128], [96, 128]), "segment": ([60, 96], [64, 96])}[task]
    assert (image["picture_size"], image["input_size"]) == expected
    assert [block["stage"] for block in image["blocks"]] == [1, 2]
    assert image["blocks"][0]["grid"] == [side // 16 for side in image["input_size"]]
    resized = explain(run, [tmp_path / "a.png"], tmp_path / "small", img_size=50, gradients=0)
    assert read(resized)["images"][0]["picture_size"] == [50, 80]


def test_hostile_file_names_cannot_escape_the_folder(place, tmp_path):
    name = tmp_path / "<img src=x onerror=alert(1)>'\"\n.png"
    Image.new("RGB", (20, 20)).save(name)
    result = explain(place / "run", [name], tmp_path / "out", gradients=0)
    assert "<img" not in result.page.read_text("utf-8")
    assert all(figure.is_file() for figure in result.pictures)


def test_models_of_other_families_are_refused(place, tmp_path):
    make_run(place / "data", tmp_path / "other", model="test_resnet", model_args={}, epochs=1, img_size=32)
    with pytest.raises(UserError, match=r"is of test_resnet.*; explain shows the messengers"):
        explain(tmp_path / "other", [place / "wide.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (
            "resnet18",
            {},
            "is neither a file nor a model of this package; explain supports only MSG-Transformers and",
        ),
        (
            "msg_transformer_tiny",
            {"model_args": {"messengers": "none"}, "seed": 0},
            "is made with model_args .*; explain shows the messengers",
        ),
        (
            "msg_transformer_tiny",
            {},
            "is untrained: the name alone has no weights; .* or --seed N",
        ),
        ("run", {"seed": 1}, "seed: run has its own weights; leave it out"),
        ("sgformer_smal", {}, "did you mean 'sgformer_small'"),
        ("nowhere/best.ckpt", {}, "no such file or folder: nowhere/best.ckpt"),
        ("run", {"weights": "run/best.ckpt"}, "weights: run has its own weights; leave it out"),
        ("run", {"model_args": {"depths": [1, 1]}}, "model_args: run has its own weights; leave it out"),
        ("run", {"blocks": ["1"]}, "blocks: '1' must be STAGE.BLOCK"),
        ("run", {"blocks": ["2.2"]}, r"has no block 2\.2; it has 1\.1, 2\.1"),
        (
            "sgformer_small",
            {"blocks": ["1.2"], "seed": 0},
            r"measures significance 1\.2; it has 1\.1, 2\.1, 2\.3",
        ),
        ("run", {"whole": True, "img_size": (16, 20)}, "whole images keep their shape"),
        ("run", {"gradients": -1}, "gradients must be at least 0"),
        ("run", {"output": "data"}, "output: .* isn't empty"),
        ("run", {"images": ["text.png"]}, "can't read image .*text.png"),
        ("run", {"images": ["nothing.png"]}, "nothing.png"),
        ("msg_transformer_tiny", {"weights": "nothing.pth"}, "weights: .*nothing.pth"),
        ("weights.safetensors", {}, "weights.safetensors' can't be read: it is empty"),
    ],
)
def test_bad_input_is_reported_in_one_line(place, tmp_path, monkeypatch, source, settings, message):
    monkeypatch.chdir(place)
    (place / "text.png").write_text("no image")
    (place / "weights.safetensors").write_bytes(b"")
    images = settings.pop("images", ["wide.png"])
    with pytest.raises(UserError, match=message) as error:
        explain(source, images, settings.pop("output", tmp_path / "out"), **settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_too_many_images_are_refused(place, tmp_path, monkeypatch):
    monkeypatch.setattr("msgformer.commands.explain.MAX_IMAGES", 2)
    with pytest.raises(UserError, match="more than 2"):
        explain(place / "run", [place / "data"], tmp_path / "out")
