"""Element-wise pieces. The gelu has a backward of its own, which saves one activation per layer."""
import math

import torch

ROOT = math.sqrt(2.0 / math.pi)
CUBE = 0.044715


def fast_gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1.0 + torch.tanh(ROOT * (x + CUBE * x ** 3)))


class FastGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return fast_gelu(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        bent = torch.tanh(ROOT * (x + CUBE * x ** 3))
        slope = ROOT * (1.0 + 3.0 * CUBE * x ** 2)
        return grad * (0.5 * (1.0 + bent) + 0.5 * x * (1.0 - bent ** 2) * slope)


def drop_and_add(x, residual, prob, training):
    return residual + torch.nn.functional.dropout(x, p=prob, training=training)
