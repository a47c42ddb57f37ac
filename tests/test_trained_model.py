"""`msgformer.load` with all kinds of models and images, for all three tasks."""

import dataclasses
import http.server
import io
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import msgformer
from commands.trained import MODEL_ARGS
from msgformer.checkpoints import checkpoint_file
from msgformer.cli import main as cli
from msgformer.exporters import runtime
from msgformer.tasks import progress
from tasks.prediction.same import assert_same
from tasks.tiny_runs import BACKBONE, MASK_RCNN, OPTIONS, TASK_NAMES, TinyRun, make_tiny_run

CLASSES = {"classify": msgformer.Classifier, "detect": msgformer.Detector, "segment": msgformer.Segmenter}
RESULTS = {
    "classify": msgformer.ClassificationResult,
    "detect": msgformer.DetectionResult,
    "segment": msgformer.SegmentationResult,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train the run of a task when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def get(task) -> TinyRun:
        if task not in made:
            made[task] = make_tiny_run(task, folder)
        return made[task]

    return get


@pytest.fixture(scope="module")
def loaded(runs):
    """Load the run of a task when it is first asked for."""
    made = {}

    def get(task):
        if task not in made:
            made[task] = msgformer.load(runs(task).folder, device="cpu")
        return made[task]

    return get


@pytest.fixture(params=TASK_NAMES)
def task(request):
    return request.param


@pytest.fixture
def run(runs, task):
    return runs(task)


@pytest.fixture
def model(loaded, task):
    return loaded(task)


@pytest.fixture
def expected(model, run, task):
    """Return the results of the image files, predicted one by one."""
    return [model.predict(path, **OPTIONS[task]) for path in run.images]


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """Export the classifier's run to a folder without a checkpoint."""
    pytest.importorskip("onnxruntime")
    output = tmp_path_factory.mktemp("exported") / "digits.onnx"
    msgformer.export(runs("classify").folder, output=output)
    return output


@pytest.fixture(scope="module")
def server(runs):
    """Serve the images of all tasks."""
    folder = runs("classify").folder.parent
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def create(task):
    """Create an untrained model of a task in Python."""
    torch.manual_seed(0)
    if task == "classify":
        return msgformer.create_model("msg_transformer_tiny", num_classes=3, img_size=16, **MODEL_ARGS)
    if task == "detect":
        return msgformer.create_detector("msg_transformer_tiny", num_classes=3, **MASK_RCNN, **BACKBONE)
    return msgformer.create_segmenter(
        "msg_transformer_tiny", num_classes=3, head="semantic_fpn", channels=16, **BACKBONE
    )


# Model sources


def test_a_run_and_its_best_checkpoint_are_the_same_model(task, run, model, expected):
    other = msgformer.load(run.folder / "best.ckpt", device="cpu")
    assert type(model) is type(other) is CLASSES[task]
    assert_same(other.predict(run.images, **OPTIONS[task]), expected)


def test_the_attributes_of_a_model(task, run, model, expected):
    checkpoint = torch.load(run.folder / "best.ckpt", weights_only=True)
    weights = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
    state = model.module.state_dict()  # after predictions
    assert state.keys() <= weights.keys()
    assert all(torch.equal(state[name], weights[name]) for name in state)
    assert type(model.module).__module__.startswith("msgformer.")
    assert not model.module.training
    assert model.num_parameters == sum(one.numel() for one in model.module.parameters())
    assert model.task == model.card.task == task
    assert model.class_names == (run.folder / "classes.txt").read_text().splitlines()
    assert len(model.img_size) == 2
    if task == "classify":
        assert model.img_size == (16, 16)
    image = Image.open(run.images[0]).convert("RGB")
    tensor = model.preprocess(image)
    assert tensor.ndim == 3
    assert tensor.dtype is torch.float32
    assert CLASSES[task].__name__ in repr(model)


def test_the_number_of_parameters_in_a_report_is_that_of_the_module(runs, loaded):
    page = msgformer.report(runs("classify").folder, device="cpu", workers=0, progress="none").report.read_text()
    assert f"{loaded('classify').num_parameters:,}" in page


def test_an_exported_file_predicts_as_the_run(runs, loaded, exported):
    model = msgformer.load(exported, device="cpu")
    images = runs("classify").images
    assert isinstance(model, msgformer.Classifier)
    assert_same(model.predict(images), loaded("classify").predict(images), tolerance=1e-4)
    assert model.img_size == (16, 16)
    assert model.num_parameters is None
    assert model.class_names == loaded("classify").class_names
    for use in (lambda: model.module, lambda: model.embed(images), lambda: model.export("onnx")):
        with pytest.raises(
            msgformer.UserError, match=r"digits\.onnx is an exported file, which holds no PyTorch module"
        ):
            use()


def test_an_exported_file_has_its_own_precision(exported):
    with pytest.raises(msgformer.UserError, match=r"^precision: .*digits\.onnx has the precision of its export"):
        msgformer.load(exported, precision="bf16")
    assert msgformer.load(exported, precision="32-true").predict


def test_converted_weights(runs, loaded, tmp_path):
    path = tmp_path / "converted.safetensors"
    msgformer.convert(runs("classify").folder / "best.ckpt", path)
    model = msgformer.load(path, device="cpu")
    assert type(model) is msgformer.Classifier
    assert model.class_names == loaded("classify").class_names
    images = runs("classify").images
    assert_same(model.predict(images), loaded("classify").predict(images))


def test_a_model_name_gives_an_untrained_model(capsys, runs, tmp_path):
    image = runs("classify").images[0]
    model = msgformer.load("msg_transformer_tiny", device="cpu")
    assert capsys.readouterr().err == "msg_transformer_tiny is untrained: its weights are random\n"
    assert isinstance(model.module, torch.nn.Module)
    assert (model.img_size, len(model.class_names)) == ((224, 224), 1000)
    uses = {
        "predict": lambda: model.predict(image),
        "evaluate": lambda: model.evaluate(runs("classify").data),
        "explain": lambda: model.explain(image, output=tmp_path / "explained"),
        "embed": lambda: model.embed(image),
    }
    for name, use in uses.items():
        with pytest.raises(msgformer.UserError, match=rf"{name}: msg_transformer_tiny is untrained: ") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "explained").exists()


def test_the_commands_refuse_a_name(runs, tmp_path):
    image = str(runs("classify").images[0])
    for use in (
        lambda: msgformer.predict("msg_transformer_tiny", image),
        lambda: msgformer.evaluate("msg_transformer_tiny", runs("classify").data),
        lambda: msgformer.explain("msg_transformer_tiny", image, output=tmp_path / "explained"),
        lambda: msgformer.embed("msg_transformer_tiny", image, output=tmp_path / "features.npy"),
    ):
        with pytest.raises(
            msgformer.UserError, match=r"msg_transformer_tiny is untrained: the name alone has no weights"
        ):
            use()


# Models that were created in Python


def test_a_module_of_this_package(task, run):
    module = create(task)
    model = msgformer.load(module, device="cpu")
    assert type(model) is CLASSES[task]
    assert model.module is module
    results = model.predict(run.images, **OPTIONS[task])
    assert all(type(one) is RESULTS[task] for one in results)
    assert_same(
        msgformer.load(module, device="cpu", optimize=False).predict(run.images, **OPTIONS[task]), results, 1e-3
    )


def test_predicting_does_not_change_a_module_in_training(task, run):
    module = create(task).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for optimize in (True, False):
        msgformer.load(module, device="cpu", optimize=optimize).predict(run.images[0], **OPTIONS[task])
    assert all(one.training for one in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_module_with_the_weights_of_a_run_predicts_and_scores_the_same(task, run, model):
    """The public functions accept a module or a trained model instead of a path."""
    options = {"device": "cpu", "workers": 0, "progress": "none"}
    looks = {"threshold": 0.0} if task == "detect" else {}
    by_path, by_model = (
        msgformer.predict(one, run.images, **options, **looks).predictions for one in (run.folder, model)
    )
    assert by_path == by_model
    if task != "detect":  # a detector in Python doesn't know what its run called the classes
        scores, others = (msgformer.evaluate(one, run.data, **options) for one in (run.folder, model))
        assert scores == others
    made = msgformer.predict(create(task), run.images, **options, **looks)
    assert [Path(one.image) for one in made.predictions] == run.images


def test_a_module_can_be_scored_on_data_of_its_classes(runs, tmp_path):
    module = create("classify")
    module.pretrained_cfg["label_names"] = ["dark", "grey", "light"]
    result = msgformer.evaluate(module, runs("classify").data, device="cpu", workers=0, progress="none")
    assert (result.images, result.classes) == (12, 3)
    with pytest.raises(msgformer.UserError, match=r"MsgTransformer|msg_transformer_tiny") as caught:
        msgformer.evaluate(module, device="cpu", workers=0, progress="none")
    assert "\n" not in str(caught.value)


def test_a_saved_folder_needs_data_to_be_scored(loaded, runs, tmp_path):
    """Its card records the training data, but the list of held-out images is in the run folder."""
    model = msgformer.load(loaded("classify").save_pretrained(tmp_path / "saved"), device="cpu")
    with pytest.raises(msgformer.UserError, match=r"^data: .*saved isn't in the folder of its run; give --data"):
        model.evaluate(progress="none")
    options = {"workers": 0, "progress": "none", "split": "all"}
    scores, expected = (one.evaluate(runs("classify").data, **options) for one in (model, loaded("classify")))
    assert scores.per_class == expected.per_class


@pytest.mark.parametrize(
    "task", ["classify", *(pytest.param(task, marks=pytest.mark.slow) for task in ("detect", "segment"))], indirect=True
)
@pytest.mark.parametrize("as_module", [True, False], ids=["module", "trained model"])
def test_a_model_in_memory_is_exported_explained_and_timed(as_module, task, run, model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    given = create(task) if as_module else model
    size = 16 if task == "classify" else 64
    output = tmp_path / "out.onnx"
    assert msgformer.export(given, output=output, img_size=size).output == output
    assert type(msgformer.load(output, device="cpu")) is CLASSES[task]
    explained = msgformer.explain(
        given, run.images[0], output=tmp_path / "explained", device="cpu", progress="none", gradients=0
    )
    assert explained.page.is_file()
    if task == "classify":
        timed = msgformer.benchmark(given, img_size=16, rounds=1, device="cpu", progress="none", threads=1)
        assert len(timed.timings) == 1


def test_changes_of_a_module_are_timed(runs):
    model, calls = msgformer.load(runs("classify").folder, device="cpu"), []
    model.module.register_forward_pre_hook(lambda *_: calls.append(1))
    model.benchmark(img_size=16, rounds=1, device="cpu", progress="none", threads=1)
    assert calls


@pytest.mark.parametrize(("method", "what"), [("predict", "predicting"), ("embed", "embedding")])
def test_progress_in_lines(method, what, loaded, runs, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    getattr(loaded("classify"), method)(runs("classify").images, batch_size=2, progress="lines")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{what}: 2 of 3 images")
    assert second.startswith(f"{what}: 3 of 3 images")


def test_other_objects_are_refused():
    with pytest.raises(msgformer.UserError, match=r"Linear is neither a classifier of timm's kind nor a detector"):
        msgformer.load(torch.nn.Linear(2, 3))
    for wrong in (3, None, ["a"]):
        with pytest.raises(msgformer.UserError, match=r"^model: "):
            msgformer.load(wrong)


def test_a_trained_model_keeps_its_device_and_precision_unless_others_are_asked_for(runs):
    model = msgformer.load(runs("classify").folder, device="cpu", precision="bf16", optimize=False)
    same = msgformer.load(model)
    assert (same.config.device, same.config.precision, same.config.optimize) == ("cpu", "bf16", False)
    other = msgformer.load(model, precision="64-true")
    assert (other.config.device, other.config.precision) == ("cpu", "64-true")
    assert other.module is model.module
    with pytest.raises(msgformer.UserError, match=r"^device must be auto"):
        msgformer.load(model, device="tpu")
    image = runs("classify").images[0]
    exact, coarse = (
        msgformer.predict(model, image, device="cpu", precision=one, progress="none").predictions[0].probabilities
        for one in ("64-true", "bf16")
    )
    assert exact != coarse
    assert exact == pytest.approx(coarse, abs=0.05)


# Kinds of images

SINGLE = {
    "text": lambda path: str(path),
    "path": lambda path: path,
    "PIL image": lambda path: Image.open(path),
    "array": pixels,
    "float array": lambda path: (pixels(path) / 255).astype(np.float32),
    "tensor": lambda path: torch.from_numpy(pixels(path).copy()).permute(2, 0, 1),
    "float tensor": lambda path: torch.from_numpy(pixels(path).copy()).permute(2, 0, 1) / 255,
    "bytes": lambda path: path.read_bytes(),
    "file": lambda path: io.BytesIO(path.read_bytes()),
}
MANY = {
    "list": lambda paths: [str(path) for path in paths],
    "tuple": tuple,
    "mixed list": lambda paths: [paths[0], Image.open(paths[1]), pixels(paths[2])],
    "folder": lambda paths: paths[0].parent,
    "pattern": lambda paths: str(paths[0].parent / "*.png"),
    "generator": lambda paths: (pixels(path) for path in paths),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_one_image(kind, task, run, model, expected):
    found = model.predict(SINGLE[kind](run.images[2]), **OPTIONS[task])
    assert type(found) is RESULTS[task]
    assert_same(found, expected[2])


def test_a_url(task, run, model, expected, server):
    found = model.predict(f"{server}/{task}-images/{run.images[1].name}", **OPTIONS[task])
    assert_same(found, expected[1])


def test_the_command_line_takes_urls(runs, server, capsys):
    url = f"{server}/classify-images/a.png"
    assert cli.main(["predict", str(runs("classify").folder), url, "--workers", "0", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(url)


@pytest.mark.parametrize("kind", MANY)
def test_many_images(kind, task, run, model, expected):
    found = model.predict(MANY[kind](run.images), **OPTIONS[task])
    assert isinstance(found, list)
    assert_same(found, expected)


def test_a_gray_array(task, run, model, tmp_path):
    grey = Image.open(run.images[0]).convert("L")
    grey.save(tmp_path / "grey.png")
    found = model.predict(np.asarray(grey), **OPTIONS[task])
    assert_same(found, model.predict(tmp_path / "grey.png", **OPTIONS[task]))


def test_batches_of_arrays_and_tensors(task, run, model, expected):
    batch = np.stack([pixels(run.images[0])] * 2)
    for images in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), batch[:1]):
        found = model.predict(images, **OPTIONS[task])
        assert_same(found, [expected[0]] * len(images))


def test_the_frames_of_a_video(task, run, model, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in (40, 120, 200):
            image = Image.open(run.images[0]).convert("RGB").resize((64, 48))
            image = Image.blend(image, Image.new("RGB", image.size, (level,) * 3), 0.5)
            for packet in stream.encode(av.VideoFrame.from_image(image)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    results = model.predict(path, **OPTIONS[task])
    assert [one.image for one in results] == [f"{path}:{number:06d}" for number in range(3)]
    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    assert_same(results, [model.predict(frame, **OPTIONS[task]) for frame in frames])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_stream_reads_few_images_ahead(batch_size, task, run, model, expected):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pixels(run.images[0])

    results = model.predict(endless(), stream=True, batch_size=batch_size, workers=0, **OPTIONS[task])
    assert not isinstance(results, list)
    for number in range(1, 8):
        assert_same(next(results), expected[0])
        assert taken <= number + 2 * batch_size


def test_a_stream_of_one_image(task, run, model, expected):
    assert_same(list(model.predict(run.images[0], stream=True, **OPTIONS[task])), expected[:1])


def test_bad_images_are_skipped_or_stop(task, run, model, expected, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = [run.images[0], broken, run.images[1]]
    results = model.predict(images, on_bad_image="skip", **OPTIONS[task])
    assert_same([results[0], results[2]], expected[:2])
    assert type(results[1]) is RESULTS[task]
    assert "broken.png" in results[1].error
    with pytest.raises(msgformer.UserError, match=r"broken\.png"):
        model.predict(images, **OPTIONS[task])
    stream = model.predict(images, stream=True, **OPTIONS[task])
    assert_same(next(stream), expected[0])
    with pytest.raises(msgformer.UserError, match=r"broken\.png"):
        next(stream)


def test_the_function_takes_a_single_path(task, run, expected):
    result = msgformer.predict(run.folder, str(run.images[0]), device="cpu", progress="none")
    (record,) = result.predictions
    assert record.image == str(run.images[0])
    if task == "classify":
        assert record.classes[0] == expected[0].label
    (same,) = msgformer.predict(run.folder, run.images[0], device="cpu", progress="none").predictions
    assert same == record
    (iterated,) = msgformer.iter_predictions(run.folder, run.images[0], device="cpu")
    assert iterated == record


# Files that a prediction reads


def test_a_checkpoint_is_opened_hashed_and_deserialized_once(task, run, monkeypatch):
    counts = {"load": 0, "hash": 0}
    load, is_sealed = torch.load, checkpoint_file.is_sealed

    def counted_load(*args, **kwargs):
        counts["load"] += 1
        return load(*args, **kwargs)

    def counted_hash(path):
        counts["hash"] += 1
        return is_sealed(path)

    monkeypatch.setattr(torch, "load", counted_load)
    monkeypatch.setattr(checkpoint_file, "is_sealed", counted_hash)
    msgformer.predict(run.folder, run.images[0], device="cpu", progress="none")
    assert counts == {"load": 1, "hash": 1}
    model = msgformer.load(run.folder, device="cpu")
    for image in run.images:
        model.predict(image)
    assert counts == {"load": 2, "hash": 2}


def test_a_prediction_of_an_exported_file_reads_no_checkpoint_beside_it(runs, exported, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / exported.name
    path.write_bytes(exported.read_bytes())
    (folder / "best.ckpt").write_bytes((runs("classify").folder / "best.ckpt").read_bytes())
    (folder / "split.csv").write_bytes((runs("classify").folder / "split.csv").read_bytes())
    data = msgformer.evaluate(path, device="cpu", workers=0, progress="none")
    assert data.images < 12  # what the run held out, as the checkpoint beside the file says
    monkeypatch.setattr(torch, "load", None)
    assert msgformer.load(path, device="cpu").predict(runs("classify").images[0]).label


# Invalid arguments


def test_unknown_options_are_refused_with_the_nearest_name(task, run, model):
    for options, message in (
        ({"treshold": 0.3}, "predict: unknown option 'treshold'.*; did you mean 'threshold'"),
        ({"topk": None}, "predict: unknown option 'topk'.*; did you mean 'top_k'"),
        ({"batchsize": 2}, "predict: unknown option 'batchsize'; did you mean 'batch_size'"),
        ({"xyzzy": 2}, "predict: unknown option 'xyzzy'$"),
    ):
        with pytest.raises(msgformer.UserError, match=message):
            model.predict(run.images[0], **options)
    for name, wrong, right in (
        ("evaluate", "devices", "device"),
        ("export", "dynamic_batches", "dynamic_batch"),
        ("explain", "each_heads", "each_head"),
        ("benchmark", "round", "rounds"),
    ):
        arguments = [run.images[0]] if name == "explain" else []
        with pytest.raises(msgformer.UserError, match=rf"^{name}: unknown option '{wrong}'; did you mean '{right}'"):
            getattr(model, name)(*arguments, **{wrong: 1})


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("classify", {"threshold": 0.3}, "^threshold is for detectors, not for classifiers; leave it out$"),
        ("detect", {"top_k": 3}, "^top_k is for classifiers, not for detectors; leave it out$"),
        ("detect", {"img_size": 32}, "^img_size is for classifiers, not for detectors"),
        ("segment", {"threshold": 0.3}, "^threshold is for detectors, not for segmenters"),
        ("segment", {"top_k": 3}, "^top_k is for classifiers, not for segmenters"),
        ("classify", {"top_k": 0}, "^top_k must be at least 1, not 0"),
        ("classify", {"img_size": 0}, "^img_size must be at least 1, not 0"),
        ("detect", {"threshold": 1.5}, "^threshold must lie between 0 and 1, not 1.5"),
        ("segment", {"batch_size": 0}, "^batch_size must be at least 1, not 0"),
        ("segment", {"workers": -1}, "^workers must be at least 0, not -1"),
        ("classify", {"on_bad_image": "ignore"}, "^on_bad_image must be stop or skip, not 'ignore'"),
        ("classify", {"progress": "dots"}, "^progress must be auto, bar, lines or none, not 'dots'"),
    ],
)
def test_unusable_options_are_refused(task, options, message, run, model):
    with pytest.raises(msgformer.UserError, match=message):
        model.predict(run.images[0], **options)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("classify", {"scales": [1.0]}, "^scales is for segmenters, not for classifiers"),
        ("detect", {"flip": True}, "^flip is for classifiers and segmenters, not for detectors"),
        ("segment", {"crop_pct": 0.9}, "^crop_pct is for classifiers, not for segmenters"),
    ],
)
def test_options_of_other_tasks_in_an_evaluation(task, options, message, model):
    with pytest.raises(msgformer.UserError, match=message):
        model.evaluate(**options)


def test_a_missing_path_is_refused(loaded, runs):
    with pytest.raises(msgformer.UserError, match=r"missing/run"):
        msgformer.load("missing/run")
    with pytest.raises(msgformer.UserError, match=r"missing\.ckpt"):
        msgformer.load("missing.ckpt")
    with pytest.raises(msgformer.UserError, match=r"^images: .*missing\.png"):
        loaded("classify").predict("missing.png")
    with pytest.raises(msgformer.UserError, match=r"mgs_transformer_tiny.*did you mean 'msg_transformer_tiny'"):
        msgformer.load("mgs_transformer_tiny")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "gpu:0:1", "cpu:1", ""])
def test_unknown_devices_are_refused(device, runs):
    with pytest.raises(msgformer.UserError, match=r"^device must be auto, cpu, cuda or cuda:N, not "):
        msgformer.load(runs("classify").folder, device=device)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu", "mps"])
def test_missing_devices_are_refused(device, runs):
    with pytest.raises(msgformer.UserError, match=r"^device: there is no .* device on this machine; give cpu or auto"):
        msgformer.load(runs("classify").folder, device=device)


@pytest.mark.parametrize(("old", "new"), [("32-true", "float32"), ("bf16-mixed", "bf16")])
def test_aliases_of_precision(old, new, task, run):
    first, second = (
        msgformer.load(run.folder, device="cpu", precision=one).predict(run.images[0], **OPTIONS[task])
        for one in (old, new)
    )
    assert_same(first, second)


def test_unknown_precision_is_refused(runs):
    for wrong in ("int8", "float16", "32"):
        with pytest.raises(msgformer.UserError, match=rf"^precision must be float32, bf16 or fp16, not '{wrong}'"):
            msgformer.load(runs("classify").folder, device="cpu", precision=wrong)
    with pytest.raises(msgformer.UserError, match=r"^precision: fp16 needs a GPU"):
        msgformer.load(runs("classify").folder, device="cpu", precision="fp16")


def test_machine_code_is_not_run_without_trust(exported, tmp_path, monkeypatch):
    """Files whose card declares machine code are refused before they are opened."""
    path = tmp_path / "model.pt2"
    path.write_bytes(exported.read_bytes())
    card = dataclasses.replace(runtime.read_card(exported), format="aoti")
    monkeypatch.setattr(runtime, "read_card", lambda _: card)
    with pytest.raises(msgformer.UserError, match=r"model\.pt2 contains machine code; give --trust true"):
        msgformer.load(path, device="cpu")
