"""Optimizer, schedule and loss as in the paper."""
import random

import numpy as np
import torch
from torch import nn
from transformers import AdamW, get_linear_schedule_with_warmup


def set_seed(seed=12345):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def build_optimizer(model, lr=3e-6, warmup=None, total_steps=None):
    optimizer = AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=lr, eps=1e-8)
    scheduler = None
    if warmup is not None:
        scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=warmup, num_training_steps=total_steps)
    return optimizer, scheduler


def pairwise_loss(scores, nway):
    """The first passage of each row is the right one."""
    scores = scores.view(-1, nway)
    labels = torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device)
    return nn.CrossEntropyLoss()(scores, labels)


def distillation_loss(scores, targets, nway, alpha=1.0):
    scores = torch.log_softmax(scores.view(-1, nway), dim=-1)
    targets = torch.log_softmax(targets.view(-1, nway) * alpha, dim=-1)
    return nn.KLDivLoss(reduction="batchmean", log_target=True)(scores, targets)
