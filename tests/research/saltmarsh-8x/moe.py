import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers.activations import ACT2FN


def balance_loss(all_logits, num_experts, top_k):
    """Switch-style loss over the router logits of all layers."""
    if not all_logits:
        return 0
    logits = torch.cat([l.reshape(-1, num_experts) for l in all_logits], dim=0)
    probs = F.softmax(logits, dim=-1)
    chosen = F.one_hot(probs.topk(top_k, dim=-1).indices, num_experts).float()
    return num_experts * (chosen.mean(0) * probs.mean(0)[None]).sum()


class Expert(nn.Module):
    def __init__(self, hidden, inner, act):
        super().__init__()
        self.w1 = nn.Linear(hidden, inner, bias=False)
        self.w2 = nn.Linear(inner, hidden, bias=False)
        self.w3 = nn.Linear(hidden, inner, bias=False)
        self.act_fn = ACT2FN[act]

    def forward(self, x):
        return self.w2(self.act_fn(self.w1(x)) * self.w3(x))


class SparseBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_experts = config.num_local_experts
        self.top_k = config.num_experts_per_tok
        self.jitter = config.router_jitter_noise
        self.gate = nn.Linear(config.hidden_size, self.num_experts, bias=False)
        self.experts = nn.ModuleList(
            [Expert(config.hidden_size, config.moe_intermediate_size, config.hidden_act) for _ in range(self.num_experts)]
        )
        self.shared = Expert(config.hidden_size, config.moe_intermediate_size * 2, config.hidden_act)
        self.shared_gate = nn.Linear(config.hidden_size, 1, bias=False)
        # statistics for the load plots
        self.register_buffer("load", torch.zeros(self.num_experts), persistent=False)

    def forward(self, hidden_states):
        batch, length, dim = hidden_states.shape
        if self.training and self.jitter > 0:
            hidden_states = hidden_states * torch.empty_like(hidden_states).uniform_(1 - self.jitter, 1 + self.jitter)
        flat = hidden_states.view(-1, dim)
        logits = self.gate(flat)
        weights, chosen = torch.topk(F.softmax(logits, dim=1, dtype=torch.float), self.top_k, dim=-1)
        weights = (weights / weights.sum(dim=-1, keepdim=True)).to(flat.dtype)
        out = torch.zeros_like(flat)
        hit = F.one_hot(chosen, num_classes=self.num_experts).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            slot, rows = torch.where(hit[number])
            if rows.numel() == 0:
                continue
            out.index_add_(0, rows, expert(flat[rows]) * weights[rows, slot, None])
        self.load += hit.sum(dim=(1, 2))
        out = out + torch.sigmoid(self.shared_gate(flat)) * self.shared(flat)
        return out.view(batch, length, dim), logits
