"""Lightning callbacks of the user, in Python."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from commands.tiny import TINY, assert_same_run, rows, tiny_run
from commands.trained import make_images
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.config.recipes import load_yaml
from msgformer.errors import UserError
from msgformer.tasks.opened_model import load_model

pytestmark = pytest.mark.usefixtures("one_thread")


class Count(Callback):
    """Counts steps and epochs, and optionally stops after a step."""

    def __init__(self, stop_at=None):
        self.steps = self.epochs = 0
        self.stop_at = stop_at

    def state_dict(self):
        return {"steps": self.steps, "epochs": self.epochs, "sum": torch.tensor(float(self.steps))}

    def load_state_dict(self, state):
        self.steps, self.epochs = state["steps"], state["epochs"]

    def on_train_batch_end(self, *_):
        self.steps += 1
        if self.steps == self.stop_at:
            raise RuntimeError("stopped by the test")

    def on_train_epoch_end(self, *_):
        self.epochs += 1


class Growing(Callback):
    """Has a state that can no longer be saved after an epoch."""

    state = None

    def on_train_epoch_end(self, trainer, *_):
        self.state = {"trainer": trainer}

    def state_dict(self):
        return self.state or {}


@pytest.fixture
def data(tmp_path):
    return make_images(tmp_path / "data")


def test_callbacks_resume_where_a_run_was_interrupted(data, tmp_path):
    whole, first, second = Count(), Count(stop_at=8), Count()
    tiny_run(data, tmp_path / "whole", callbacks=[whole])
    assert (whole.steps, whole.epochs) == (18, 3)
    states = read_training_checkpoint(tmp_path / "whole/last.ckpt")["callbacks"]
    assert states["Count"]["steps"] == 18, "that of the same step"
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_run(data, tmp_path / "part", callbacks=[first])
    train(resume=tmp_path / "part", callbacks=[second])
    assert (second.steps, second.epochs) == (18, 3)
    assert_same_run(tmp_path / "whole", tmp_path / "part")
    assert "callbacks" not in load_yaml(tmp_path / "part/config.yaml")


def test_lightnings_own_callbacks_work(data, tmp_path):
    stop = EarlyStopping("val/loss", patience=1, min_delta=1e9)
    keep = ModelCheckpoint(dirpath=tmp_path / "kept", save_top_k=-1)
    tiny_run(data, tmp_path / "run", epochs=5, callbacks=[stop, keep])
    assert len(rows(tmp_path / "run")) == 2
    kept = [*(tmp_path / "kept").iterdir()]
    assert len(kept) == 2
    assert load_model(kept[0])[1].classes == ["dark", "grey", "light"]


def test_a_callback_state_that_cannot_be_saved_does_not_stop_the_training(data, tmp_path, capfd):
    result = tiny_run(data, tmp_path / "run", callbacks=[Growing(), Count()])
    assert result.epochs == 3
    assert capfd.readouterr().err.count("warning: the state of the callback Growing isn't saved") == 1
    assert {"Count", "RunFiles"} == set(read_training_checkpoint(tmp_path / "run/last.ckpt")["callbacks"])


def test_a_wrong_callback_is_refused_before_a_run_is_made(data, tmp_path):
    with pytest.raises(UserError, match="callbacks: 3 is not a"):
        tiny_run(data, tmp_path / "run", callbacks=[3])
    assert not (tmp_path / "run").exists()


def test_callbacks_are_not_an_option(tmp_path):
    (tmp_path / "a.yaml").write_text("callbacks: []")
    for words in (["--callbacks", "x"], ["--config", str(tmp_path / "a.yaml")]):
        with pytest.raises(UserError, match=r"unknown option '(--)?callbacks'"):
            Options(train).parse(words)
    assert "callbacks" not in Options(train).help()


@pytest.mark.slow
def test_each_process_of_a_training_has_its_callbacks(data, tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        "import msgformer\nfrom lightning.pytorch.callbacks import Callback\n\n\n"
        "class Tell(Callback):\n    def on_fit_end(self, trainer, module):\n"
        "        open(f'called{trainer.global_rank}', 'w').close()\n\n\n"
        "if __name__ == '__main__':\n"
        f"    msgformer.train('msg_transformer_tiny', 'data', 1, output='run', callbacks=[Tell()], model_args={TINY},"
        "        img_size=16, batch_size=4, workers=0, optim={'warmup_epochs': 0}, report=False,"
        "        trainer={'accelerator': 'cpu', 'devices': 2, 'strategy': 'ddp', 'progress': 'none'})\n"
    )
    subprocess.run([sys.executable, script], cwd=tmp_path, timeout=240, check=True)
    assert {path.name for path in tmp_path.glob("called*")} == {"called0", "called1"}
