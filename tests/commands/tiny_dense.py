"""Trainings of detectors and segmenters of a few seconds."""

from msgformer.commands.train import train
from msgformer.tasks import get_task

BACKBONE = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "drop_path_rate": 0.1}
DETECT = {
    "head": "mask_rcnn",
    "channels": 16,
    "fc_channels": 32,
    "anchor_size": 16,
    "train_proposals": 50,
    "test_proposals": 50,
    "rois_per_image": 32,
}
IMAGES = {
    "detect": {"train_sides": [96, 128], "max_side": 128, "crop": 0.5, "crop_resize": [128], "crop_sides": [64, 96]},
    "segment": {"short_side": 96, "long_side": 96, "crop": 64},
}


def write_scenes(task, folder, train_images=6, val_images=3):
    """A folder of scenes."""
    get_task(task).write_scenes(folder, {"train": train_images, "val": val_images}, 0)
    return folder


def tiny_dense_run(task, data, output, **settings):
    """Train for one or two seconds with all random operations."""
    model = {"detect": DETECT} if task == "detect" else {"segment": {"head": "semantic_fpn", "channels": 16}}
    images = {**IMAGES[task], **({"test_side": 128, "test_max_side": 128} if task == "detect" else {})}
    return train(
        **{
            "task": task,
            "data": data,
            "output": output,
            "epochs": 2,
            "batch_size": 2,
            "workers": 0,
            "model_args": BACKBONE,
            f"{task}_images": images,
            "optim": {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None},
            "trainer": {"accelerator": "cpu", "progress": "none"},
            **model,
            **settings,
        }
    )
