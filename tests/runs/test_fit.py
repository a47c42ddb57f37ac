from types import SimpleNamespace

import pytest

from msgformer.runs import report
from msgformer.runs.fit import _write_report_at_end


@pytest.mark.parametrize("finished", [True, False])
def test_only_a_finished_training_scores_its_images_for_the_report(finished, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(report, "evaluate_best", lambda *_: "scores")
    monkeypatch.setattr(report, "try_write_report", lambda run, scores, note: written.append((run, scores, note)))
    settings, trainer = SimpleNamespace(report=True), SimpleNamespace(is_global_zero=True)
    files = SimpleNamespace(folder=tmp_path, rows=[{}])
    if finished:
        with _write_report_at_end(settings, files, trainer):
            pass
    else:
        with pytest.raises(KeyboardInterrupt), _write_report_at_end(settings, files, trainer):
            raise KeyboardInterrupt
    assert written == [(tmp_path, "scores" if finished else None, None)]
