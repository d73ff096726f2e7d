"""Everything that has to do with the tree of candidates, without a model."""
from typing import Dict, List

import torch


def build_tree_buffers(choices: List[List[int]], top_k: int, device="cpu") -> Dict[str, torch.Tensor]:
    """
    choices: paths, as ranks of the guess at each depth; [0, 1] is the second guess of head 1 after the best of head 0.

    Returns
      tree_mask       [1, 1, n, n]  True where node i may see node j (its ancestors and itself)
      tree_index      [n]           place of each node in (root, head 0 top-k, head 1 top-k, ...)
      tree_positions  [n]           depth
      retrieve        [leaves, depth + 1]  nodes on the way to each leaf, padded with -1
    """
    choices = sorted([tuple(c) for c in choices], key=lambda c: (len(c), c))
    n = len(choices) + 1
    where = {(): 0}
    for i, c in enumerate(choices):
        if c[:-1] not in where:
            raise ValueError(f"the tree has {c}, but not its parent")
        where[c] = i + 1

    mask = torch.eye(n, dtype=torch.bool)
    mask[:, 0] = True
    index = torch.zeros(n, dtype=torch.long)
    positions = torch.zeros(n, dtype=torch.long)
    for c, i in where.items():
        if not c:
            continue
        positions[i] = len(c)
        index[i] = 1 + top_k * (len(c) - 1) + c[-1]
        for d in range(1, len(c)):
            mask[i, where[c[:d]]] = True

    parents = {c[:-1] for c in where if c}
    leaves = [c for c in where if c not in parents and c]
    depth = max(len(c) for c in leaves)
    retrieve = torch.full((len(leaves), depth + 1), -1, dtype=torch.long)
    for row, c in enumerate(leaves):
        retrieve[row, : len(c) + 1] = torch.tensor([where[c[:d]] for d in range(len(c) + 1)])
    buffers = {
        "tree_mask": mask[None, None],
        "tree_index": index,
        "tree_positions": positions,
        "retrieve": retrieve,
    }
    return {k: v.to(device) for k, v in buffers.items()}


def make_candidates(logits, draft_logits, buffers, top_k):
    """logits [V], draft_logits [heads, V] -> tokens of the nodes [n], and the same along each path [leaves, depth + 1]"""
    best = logits.argmax(-1, keepdim=True)
    guesses = draft_logits.topk(top_k, dim=-1).indices.reshape(-1)
    nodes = torch.cat([best, guesses])[buffers["tree_index"]]
    padded = torch.cat([nodes, nodes.new_full((1,), -1)])
    return nodes, padded[buffers["retrieve"]]


def greedy_accept(tree_logits, paths, buffers):
    """longest path of which each token is what the model itself would have said"""
    said = tree_logits.argmax(-1)  # [n]
    said = torch.cat([said, said.new_full((1,), -2)])[buffers["retrieve"]]
    ok = (paths[:, 1:] == said[:, :-1]) & (paths[:, 1:] >= 0)
    length = ok.int().cumprod(dim=1).sum(dim=1)
    best = int(length.argmax())
    return best, int(length[best])
