"""Writes cascade_compact.safetensors: the part of the golden outputs that needs no network weights.

    python tests/heads/data/make_cascade_compact.py GOLDEN.pt

GOLDEN.pt holds outputs of a maintained MMDetection (3.5.1) on heads of 32 channels, two images and 6 classes.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def bits(masks):
    return torch.from_numpy(np.packbits(masks.numpy().astype(bool), axis=-1))


def compact(golden):
    out = {}
    for i, coder in enumerate(golden["coder"]):
        out |= {f"coder.{i}.{k}": coder[k] for k in ("a", "b", "enc", "deltas", "dec")}
        out[f"coder.{i}.stds"] = torch.tensor(coder["stds"])
    out |= {f"extractor.{k}": golden["extractor"][k] for k in ("rois", "levels")}
    out["rpn.base_anchors"] = torch.cat(golden["rpn"]["base_anchors"])
    train = golden["rpn"]["train"]
    used, labels = torch.cat(train["label_weights"], 1) > 0, torch.cat(train["labels"], 1)
    out["rpn.used"], out["rpn.positive"] = bits(used), ((labels == 0) & used).nonzero()
    targets = torch.cat(train["bbox_targets"], 1)
    out["rpn.targets"] = targets[(labels == 0) & used]
    for i, truth in enumerate(golden["gt"]):
        out |= {f"gt.{i}.boxes": truth["bboxes"], f"gt.{i}.labels": truth["labels"]}
        out[f"proposals.{i}"] = golden["proposals"][i]
    out["gt.1.masks"] = bits(golden["gt"][1]["masks"])
    for i, stage in enumerate(golden["train_bn_eval"]["stages"]):
        out |= {f"stage.{i}.{k}": stage[k] for k in ("rois", "labels", "cls_score", "bbox_pred")}
        out |= {f"stage.{i}.{k}": stage["raw_loss"][k] for k in ("loss_cls", "loss_bbox")}
    num_pos = golden["train_bn_eval"]["stages"][0]["num_pos"]
    out["stage.0.mask_targets.1"] = bits(golden["train_bn_eval"]["stages"][0]["mask_targets"][num_pos[0] :])
    test = golden["test"]
    for i, detections in enumerate(test["det"]):
        out |= {f"test.{i}.scores": test["avg_scores"][i], f"test.{i}.all_boxes": test["final_all_boxes"][i]}
        out |= {f"test.{i}.det.{k}": detections[k] for k in ("bboxes", "scores", "labels")}
    out["paste.probabilities"] = test["mask_probs_avg_sel"][:5]
    out["paste.areas"] = test["det"][0]["mask_area"][:5]
    out["paste.masks"] = test["det"][0]["masks_first20_packed"][:5]
    return {k: v.detach().clone().contiguous() for k, v in out.items()}


if __name__ == "__main__":
    tensors = compact(torch.load(sys.argv[1], weights_only=True))
    save_file(tensors, Path(__file__).with_name("cascade_compact.safetensors"))
