import torch
import torch.distributed as dist
import torch.nn.functional as F


class GatherLayer(torch.autograd.Function):
    """Gather tensors from all processes, with gradients."""

    @staticmethod
    def forward(ctx, x):
        output = [torch.zeros_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(output, x)
        return tuple(output)

    @staticmethod
    def backward(ctx, *grads):
        all_gradients = torch.stack(grads)
        dist.all_reduce(all_gradients)
        return all_gradients[dist.get_rank()]


def gathered(x):
    if not (dist.is_available() and dist.is_initialized()):
        return x
    return torch.cat(GatherLayer.apply(x), dim=0)


def contrastive_loss(logits):
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def clip_loss(similarity):
    return (contrastive_loss(similarity) + contrastive_loss(similarity.t())) / 2.0


def sigmoid_loss(logits, bias):
    n = logits.shape[0]
    labels = 2 * torch.eye(n, device=logits.device) - 1
    return -F.logsigmoid(labels * (logits + bias)).sum() / n
