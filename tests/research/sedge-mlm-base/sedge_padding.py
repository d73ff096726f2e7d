"""Remove and restore padding tokens."""
from typing import Tuple, cast

import torch
import torch.nn.functional as F


class GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, indices):
        ctx.save_for_backward(indices)
        assert input.ndim >= 2
        ctx.rows, other = input.shape[0], input.shape[1:]
        width = other.numel()
        idx = indices[:, None].expand(-1, width)
        return torch.gather(input.reshape(ctx.rows, width), 0, idx).reshape(-1, *other)

    @staticmethod
    def backward(ctx, grad_output):
        (indices,) = ctx.saved_tensors
        other = grad_output.shape[1:]
        grad = torch.zeros(ctx.rows, *other, device=grad_output.device, dtype=grad_output.dtype)
        grad.index_add_(0, indices, grad_output)
        return grad, None


class ScatterRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, indices, rows):
        ctx.save_for_backward(indices)
        out = torch.zeros(rows, *values.shape[1:], device=values.device, dtype=values.dtype)
        out[indices] = values
        return out

    @staticmethod
    def backward(ctx, grad_output):
        (indices,) = ctx.saved_tensors
        return grad_output[indices], None, None


gather_rows = GatherRows.apply
scatter_rows = ScatterRows.apply


def unpad(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    lens = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(attention_mask.flatten(), as_tuple=False).flatten()
    max_len = int(lens.max().item())
    cu_seqlens = F.pad(torch.cumsum(lens, dim=0, dtype=torch.int32), (1, 0))
    flat = hidden_states.reshape(-1, *hidden_states.shape[2:])
    return cast(torch.Tensor, gather_rows(flat, indices)), indices, cu_seqlens, max_len


def repad(hidden_states: torch.Tensor, indices: torch.Tensor, batch: int, seqlen: int) -> torch.Tensor:
    out = scatter_rows(hidden_states, indices, batch * seqlen)
    return out.reshape(batch, seqlen, *hidden_states.shape[1:])
