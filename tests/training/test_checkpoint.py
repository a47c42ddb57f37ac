from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.training.checkpoint import AtomicCheckpointIO, find_resumable


def test_previous_last_checkpoint_is_renamed(tmp_path):
    for number in range(3):
        AtomicCheckpointIO().save_checkpoint({"number": number}, tmp_path / "last.ckpt")
        AtomicCheckpointIO().save_checkpoint({"number": number}, tmp_path / "best.ckpt")
    numbers = {path.name: read_training_checkpoint(path)["number"] for path in tmp_path.iterdir()}
    assert numbers == {"last.ckpt": 2, "previous.ckpt": 1, "best.ckpt": 2}
    assert find_resumable(tmp_path).name == "last.ckpt"


def test_run_without_checkpoints_has_none_to_resume_from(tmp_path):
    assert find_resumable(tmp_path) is None
