import csv
import json

import numpy as np
import pytest
from PIL import Image

from commands.tiny_dense import DETECT, tiny_dense_run, write_scenes
from data.dense_folders import write_ade20k, write_coco
from msgformer.commands.evaluate import evaluate
from msgformer.commands.export import export
from msgformer.commands.predict import predict
from msgformer.errors import UserError
from msgformer.tasks.detection.coco_scores import METRICS
from msgformer.utils.rle import decode_mask

CPU = {"device": "cpu", "progress": "none"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for task in ("detect", "segment"):
        data = write_scenes(task, folder / f"{task}-data", 12, 3)
        made[task] = tiny_dense_run(task, data, folder / task, epochs=3)
    return made


def scenes_of(run):
    return sorted((run.run.parent / f"{run.task}-data" / "images").glob("val*/*.jpg"))


def test_a_detector_is_scored_by_cocos_numbers(runs, tmp_path):
    run = runs["detect"]
    result = evaluate(run.run, output=tmp_path / "scores", workers=0, **CPU)
    assert set(result.scores) == {f"{kind}_{name}" for kind in ("box", "mask") for name in METRICS}
    for name in ("box_ap", "mask_ap"):
        assert result.scores[name] == pytest.approx(run.scores[name], abs=1e-4)
    assert list(result.per_class) == list("0123456789")
    assert (result.images, result.scores["box_ap_large"]) == (3, None)
    written = json.loads((tmp_path / "scores/bbox_results.json").read_text())
    masks = json.loads((tmp_path / "scores/segm_results.json").read_text())
    assert {key for one in written for key in one} == {"image_id", "category_id", "bbox", "score"}
    assert {key for one in masks for key in one} == {"image_id", "category_id", "segmentation", "score"}
    assert len(written) == len(masks) > 0
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["scores"] == result.scores
    assert (tmp_path / "scores/per_class.csv").read_text().startswith("class,box_ap,mask_ap\n0,")
    text = result.table()
    assert "AP50" in text
    assert "mask" in text


def test_a_segmenter_is_scored_at_one_size_and_at_several(runs):
    run = runs["segment"]
    result = evaluate(run.run, workers=0, batch_size=2, **CPU)
    for name in ("miou", "pixel_accuracy", "mean_accuracy"):
        assert result.scores[name] == pytest.approx(run.scores[name], abs=1e-2)
    assert result.scores["loss"] == pytest.approx(run.scores["loss"], rel=1e-3)
    assert list(result.per_class) == ["background", *"0123456789"]
    several = evaluate(run.run, workers=0, scales=[0.75, 1.0, 1.25], flip=True, **CPU)
    assert several.views == {"scales": [0.75, 1.0, 1.25], "flip": True}
    assert several.scores["loss"] != result.scores["loss"]
    assert "miou" in several.table()


def test_a_detector_draws_what_it_finds(runs, tmp_path):
    images = scenes_of(runs["detect"])
    result = predict(runs["detect"].run, images, threshold=0.06, output=tmp_path / "out", **CPU)
    assert [one.image for one in result.predictions] == [str(path) for path in images]
    found = [one for prediction in result.predictions for one in prediction.objects]
    assert found
    assert all(one.score >= 0.06 for one in found)
    assert found[0].label in "0123456789"
    assert decode_mask(found[0].mask, 256, 256).shape == (256, 256)
    told = json.loads((tmp_path / "out/predictions.json").read_text())
    assert told[0]["objects"][0]["box"] == result.predictions[0].objects[0].box
    for prediction in result.predictions:
        with Image.open(prediction.drawn) as drawn, Image.open(prediction.image) as picture:
            assert drawn.size == picture.size
            changed = np.asarray(drawn) != np.asarray(picture)
        assert changed.any() == bool(prediction.objects)
    assert result.predictions[0].image in result.table()
    nothing = predict(runs["detect"].run, images[:1], threshold=1.0, **CPU)
    assert nothing.predictions[0].objects == []
    assert "nothing" in nothing.table()


def test_a_segmenter_draws_its_classes(runs, tmp_path):
    images = scenes_of(runs["segment"])
    result = predict(runs["segment"].run, [images[0].parent], output=tmp_path / "out", **CPU)
    assert [one.image for one in result.predictions] == [str(path) for path in images]
    one = result.predictions[0]
    assert sum(one.classes.values()) == pytest.approx(100)
    with Image.open(one.class_map) as image:
        assert image.mode == "P"
        labels = np.asarray(image)
    assert labels.shape == (256, 256)
    assert (labels == 0).mean() * 100 == pytest.approx(one.classes.get("background", 0))
    with Image.open(one.drawn) as drawn:
        assert drawn.size == (256, 256)
    assert "background" in result.table()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "score"), [("detect", "mask_ap"), ("segment", "miou")])
def test_an_exported_file_predicts_and_scores_like_its_run(task, score, runs):
    pytest.importorskip("onnxscript")
    run = runs[task].run
    exported = export(run)
    assert exported.output == run / "best.onnx"
    assert exported.checked_on == "3 inputs of images that the run held out"
    assert exported.max_difference < 1e-4
    assert ("found by both" in exported.table()) == (task == "detect")
    ours, theirs = (evaluate(path, workers=0, **CPU).scores for path in (exported.output, run))
    assert ours[score] == pytest.approx(theirs[score], abs=0.1)
    ours, theirs = (predict(path, scenes_of(runs[task])[:1], **CPU).predictions[0] for path in (exported.output, run))
    assert ours.summary() == theirs.summary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "torch-export"}, "format torch-export: not for detectors; give --format onnx or openvino"),
        ({"int8": True, "calibration": "."}, "int8: not for detectors"),
        ({"batch_size": 2}, "takes one image at a time; leave out --batch_size"),
        ({"dynamic_batch": True}, "takes one image at a time; leave out --batch_size"),
    ],
)
def test_options_that_detectors_do_not_support_are_refused(options, message, runs):
    for package in ("onnxscript", "nncf"):
        pytest.importorskip(package)
    with pytest.raises(UserError, match=message):
        export(runs["detect"].run, **options)


@pytest.mark.parametrize(
    ("task", "command", "options", "message"),
    [
        (
            "detect",
            "evaluate",
            {"flip": True},
            "flip is for classifiers and segmenters, not for detectors; leave",
        ),
        ("detect", "evaluate", {"scales": [1.0]}, "scales is for segmenters, not for detectors; leave it out"),
        (
            "segment",
            "evaluate",
            {"crop_pct": 0.9},
            "crop_pct is for classifiers, not for segmenters; leave it out",
        ),
        ("segment", "evaluate", {"scales": [0.0]}, "scales must be above 0"),
        ("segment", "predict", {"threshold": 0.3}, "threshold is for detectors, not for segmenters"),
        ("detect", "predict", {"top_k": 3}, "top_k is for classifiers, not for detectors; leave it out"),
        ("detect", "predict", {"skip_completed": True}, "skip_completed: there is no output; pass --output FILE"),
        ("detect", "predict", {"threshold": 3.0}, "threshold must lie between 0 and 1"),
    ],
)
def test_options_of_other_tasks_are_refused(task, command, options, message, runs):
    given = {"evaluate": [], "predict": [scenes_of(runs[task])]}[command]
    with pytest.raises(UserError, match=message):
        {"evaluate": evaluate, "predict": predict}[command](runs[task].run, *given, **options)


@pytest.mark.parametrize(("task", "score"), [("detect", "box_ap"), ("segment", "miou")])
def test_checkpoints_are_compared(task, score, runs, tmp_path):
    run = runs[task].run
    result = evaluate([run, run / "last.ckpt"], output=tmp_path / "out", workers=0, **CPU)
    assert [one.checkpoint for one in result.results] == [run / "best.ckpt", run / "last.ckpt"]
    assert result.results[0].scores == evaluate(run, workers=0, **CPU).scores
    with (tmp_path / "out/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row[score]) for row in rows] == [one.scores[score] for one in result.results]
    assert len(result.table().splitlines()) == 3
    assert json.loads((tmp_path / f"out/2-{task}/metrics.json").read_text())["scores"] == result.results[1].scores


def test_models_of_several_tasks_and_full_folders_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="only models of one task can be compared"):
        evaluate([runs["detect"].run, runs["segment"].run])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="isn't empty; pass --overwrite"):
        predict(runs["detect"].run, scenes_of(runs["detect"]), output=tmp_path)


def test_data_of_other_classes_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="shows a 'cat', which is not among the known classes"):
        evaluate(runs["detect"].run, write_coco(tmp_path / "coco"))
    with pytest.raises(UserError, match="other classes than the 11"):
        evaluate(runs["segment"].run, write_ade20k(tmp_path / "ade"))


def test_another_limit_of_detections_leaves_the_usual_scores_unchanged(runs, tmp_path):
    run = runs["detect"].run
    usual = evaluate(run, workers=0, **CPU).scores
    result = evaluate(run, workers=0, max_dets=300, output=tmp_path / "scores", **CPU)
    further = {f"{kind}_{name}_300" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75", "ar")}
    assert set(result.scores) == set(usual) | further
    assert {name: result.scores[name] for name in usual} == usual
    assert "AP 300" in result.table()
    written = json.loads((tmp_path / "scores/bbox_results.json").read_text())
    counts = [sum(one["image_id"] == image for one in written) for image in {one["image_id"] for one in written}]
    assert max(counts) > 100


def test_images_with_more_objects_than_the_limit_are_told(runs, capsys):
    evaluate(runs["detect"].run, workers=0, max_dets=1, **CPU)
    message = capsys.readouterr().err
    assert "warning: " in message
    assert "more than the limit of 1 detections per image" in message
    assert "score it with --max_dets " in message
    evaluate(runs["detect"].run, workers=0, **CPU)
    assert "warning" not in capsys.readouterr().err


def test_predict_limits_the_objects(runs):
    run, image = runs["detect"].run, scenes_of(runs["detect"])[0]
    (usual,) = predict(run, image, threshold=0.0, **CPU).predictions
    (few,) = predict(run, image, threshold=0.0, max_dets=7, **CPU).predictions
    (many,) = predict(run, image, threshold=0.0, max_dets=250, **CPU).predictions
    assert (len(usual.objects), len(few.objects)) == (100, 7)
    assert 100 < len(many.objects) <= 250
    assert few.objects == usual.objects[:7]


def test_a_limit_of_detections_is_for_detectors_with_their_limit_above_0(runs):
    with pytest.raises(UserError, match="max_dets is for detectors, not for segmenters; leave it out"):
        evaluate(runs["segment"].run, max_dets=300, **CPU)
    with pytest.raises(UserError, match="max_dets must be at least 1, not 0"):
        predict(runs["detect"].run, scenes_of(runs["detect"]), max_dets=0, **CPU)
    exported = export(runs["detect"].run, format="onnx", output=runs["detect"].run.parent / "limit.onnx").output
    with pytest.raises(UserError, match=r"max_dets: the number of objects is fixed in the exported file .*limit.onnx"):
        predict(exported, scenes_of(runs["detect"]), max_dets=300, **CPU)


def test_a_results_file_of_images_without_annotations_is_that_of_evaluate(runs, tmp_path):
    """As for COCO's test-dev: image ids from the JSON file, category ids of the training data."""
    run = runs["detect"].run
    evaluate(run, output=tmp_path / "scores", workers=0, **CPU)
    data = run.parent / "detect-data"
    content = json.loads((data / "annotations/instances_val.json").read_text())
    listed = data / "annotations" / f"image_info_{scenes_of(runs['detect'])[0].parent.name}.json"
    listed.write_text(json.dumps({**content, "annotations": []}))
    predict(run, listed, results=tmp_path / "found.json", workers=0, **CPU)
    listed.unlink()
    written = json.loads((tmp_path / "found.json").read_text())
    assert {one["image_id"] for one in written} == {one["id"] for one in content["images"]}
    boxes = json.loads((tmp_path / "scores/bbox_results.json").read_text())
    masks = json.loads((tmp_path / "scores/segm_results.json").read_text())
    assert [{key: one[key] for key in boxes[0]} for one in written] == boxes
    assert [{key: one[key] for key in masks[0]} for one in written] == masks


def test_results_of_a_folder_are_numbered_and_other_tasks_have_none(runs, tmp_path, capsys):
    images = scenes_of(runs["detect"])[:2]
    predict(runs["detect"].run, images, results=tmp_path / "found.json", **CPU)
    ids = {one["image_id"] for one in json.loads((tmp_path / "found.json").read_text())}
    assert ids == {int(image.stem) for image in images}
    assert "the images are numbered" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"found\.json"):
        predict(runs["detect"].run, images, results=tmp_path / "found.json", **CPU)
    with pytest.raises(UserError, match="results is for detectors; leave it out"):
        predict(runs["segment"].run, images, results=tmp_path / "other.json", **CPU)


def test_images_not_larger_than_a_tile_are_predicted_as_usual(runs):
    run, images = runs["detect"].run, scenes_of(runs["detect"])
    assert evaluate(run, workers=0, tile=256, **CPU).scores == evaluate(run, workers=0, **CPU).scores
    usual = predict(run, images, threshold=0.0, **CPU).predictions
    assert predict(run, images, threshold=0.0, tile=256, tile_overlap=0.5, **CPU).predictions == usual
    tiled = predict(run, images, threshold=0.0, tile=160, **CPU).predictions
    assert tiled != usual
    for one in (one for prediction in tiled for one in prediction.objects):
        x1, y1, x2, y2 = one.box
        assert 0 <= x1 <= x2 <= 256
        assert 0 <= y1 <= y2 <= 256
        rows, columns = decode_mask(one.mask, 256, 256).nonzero()
        if len(rows):
            assert x1 - 1 <= columns.min() <= columns.max() <= x2 + 1
            assert y1 - 1 <= rows.min() <= rows.max() <= y2 + 1


def test_options_of_tiles_are_for_detectors_and_need_tiles(runs):
    images = scenes_of(runs["detect"])
    with pytest.raises(UserError, match="tile_overlap has an effect only with tile"):
        predict(runs["detect"].run, images, tile_overlap=0.1, **CPU)
    with pytest.raises(UserError, match=r"tile_overlap must lie between 0 and 0\.9, not 1"):
        evaluate(runs["detect"].run, tile=64, tile_overlap=1.0, **CPU)
    with pytest.raises(UserError, match="tile is for detectors, not for segmenters; leave it out"):
        predict(runs["segment"].run, images, tile=64, **CPU)


def test_a_detector_is_trained_and_scored_on_tiles(tmp_path, capsys):
    """Also on crops without any object."""
    data = write_scenes("detect", tmp_path / "data", 4, 2)
    detect = {**DETECT, "detections_per_image": 1}
    run = tiny_dense_run("detect", data, tmp_path / "run", epochs=1, detect_images={"tile": 64}, detect=detect)
    assert "more than the limit of 1 detections per image" in capsys.readouterr().err
    result = evaluate(run.run, workers=0, **CPU)
    for name in ("box_ap", "mask_ap"):
        assert result.scores[name] == pytest.approx(run.scores[name], abs=1e-4)
    images = sorted((data / "images").glob("val*/*.jpg"))
    usual = predict(run.run, images, threshold=0.0, **CPU).predictions
    assert usual == predict(run.run, images, threshold=0.0, tile=64, tile_overlap=0.2, **CPU).predictions
    assert usual != predict(run.run, images, threshold=0.0, tile=256, **CPU).predictions
    with pytest.raises(UserError, match=r"detect_images.crop has an effect only with detect_images.tile null"):
        tiny_dense_run("detect", data, tmp_path / "other", detect_images={"tile": 64, "crop": 0.5})
