"""Everything in the image: a grid of clicks, then non maximum suppression over the masks."""
from typing import Dict, List

import numpy as np
import torch


def point_grid(n: int, size: int) -> torch.Tensor:
    o = (torch.arange(n) + 0.5) * size / n
    y, x = torch.meshgrid(o, o, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def stability(masks: torch.Tensor, threshold: float, offset: float = 1.0) -> torch.Tensor:
    inter = (masks > threshold + offset).flatten(1).sum(1)
    union = (masks > threshold - offset).flatten(1).sum(1).clamp(min=1)
    return inter / union


def mask_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = a.flatten(1).float(), b.flatten(1).float()
    i = a @ b.t()
    return i / (a.sum(1)[:, None] + b.sum(1)[None] - i).clamp(min=1)


def nms(masks: torch.Tensor, scores: torch.Tensor, threshold: float = 0.7) -> List[int]:
    order, keep = scores.argsort(descending=True).tolist(), []
    iou = mask_iou(masks, masks)
    while order:
        i = order.pop(0)
        keep.append(i)
        order = [j for j in order if iou[i, j] <= threshold]
    return keep


def rle(mask: np.ndarray) -> Dict:
    flat = mask.T.reshape(-1)
    change = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff(np.concatenate([[0], change, [len(flat)]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + runs}


@torch.no_grad()
def segment_everything(model, pixel_values, n: int = 16, batch: int = 64, min_iou: float = 0.8, min_stability: float = 0.9):
    size = model.config.vision_config["image_size"]
    emb = model.get_image_embeddings(pixel_values)
    masks, scores = [], []
    for chunk in point_grid(n, size).split(batch):
        k = len(chunk)
        out = model(points=chunk[:, None].to(emb.device), labels=torch.ones(k, 1, dtype=torch.long, device=emb.device), image_embeddings=emb.expand(k, -1, -1, -1))
        best = out.iou_scores.argmax(1)
        rows = torch.arange(k, device=emb.device)
        m, s = out.masks[rows, best], out.iou_scores[rows, best]
        good = (s > min_iou) & (stability(m, model.config.mask_threshold) > min_stability)
        masks.append(m[good] > model.config.mask_threshold)
        scores.append(s[good])
    masks, scores = torch.cat(masks), torch.cat(scores)
    keep = nms(masks, scores) if len(masks) else []
    return [{"segmentation": rle(masks[i].cpu().numpy()), "score": float(scores[i])} for i in keep]
