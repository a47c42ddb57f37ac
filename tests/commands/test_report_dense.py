import pytest

from commands.tiny_dense import tiny_dense_run, write_scenes
from msgformer.commands.report import report
from msgformer.errors import UserError


@pytest.fixture(scope="module", params=["detect", "segment"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return tiny_dense_run(request.param, write_scenes(request.param, folder / "data"), folder / "run")


def test_a_training_writes_a_report_of_its_task(run):
    page = (run.run / "report.html").read_text()
    titles = {"detect": ["Average precision and recall", "Box AP50", "Terms of the loss"], "segment": ["Mean IoU"]}
    for title in ["Learning", "Classes", "Examples", "Configuration", *titles[run.task]]:
        assert title in page
    names = [f"images/val{'idation' if run.task == 'segment' else ''}/00000{number}.jpg" for number in (1, 2, 3)]
    assert all(page.count(name) >= 2 for name in names)  # the label and the prediction
    assert page.count("data:image/png") == 6
    assert (run.run / "plots/learning_curves.png").is_file()


def test_a_report_can_be_written_again_with_and_without_scores(run):
    made = report(run.run, score=False, device="cpu", progress="none")
    assert "Examples" not in made.report.read_text()
    report(run.run, device="cpu", progress="none", workers=0)
    assert "Examples" in made.report.read_text()
    image = sorted((run.run.parent / "data" / "images").glob("val*/*.jpg"))[0]
    content = image.read_bytes()
    image.write_bytes(b"no image")
    try:
        with pytest.raises(UserError, match=r"can't read image .*000001\.jpg"):
            report(run.run, device="cpu", progress="none", workers=0)
        left = report(run.run, on_bad_image="skip", device="cpu", progress="none", workers=0)
    finally:
        image.write_bytes(content)
    page = left.report.read_text()
    assert "images that can&#39;t be read" in page
    assert page.count("data:image/png") == 4
