"""AMR/knowledge graphs as flat text with node markers -> distances between tokens."""
from collections import deque
from typing import Dict, List, Sequence, Tuple

import torch


def bfs(edges: Dict[int, List[int]], start: int, limit: int) -> Dict[int, int]:
    seen = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if seen[node] == limit:
            continue
        for other in edges.get(node, ()):
            if other not in seen:
                seen[other] = seen[node] + 1
                queue.append(other)
    return seen


def token_distances(node_of_token: Sequence[int], triples: Sequence[Tuple[int, int]], buckets: int) -> torch.Tensor:
    edges: Dict[int, List[int]] = {}
    for a, b in triples:
        edges.setdefault(a, []).append(b)
        edges.setdefault(b, []).append(a)
    reach = {n: bfs(edges, n, buckets - 2) for n in set(node_of_token)}
    far = buckets - 1
    return torch.tensor([[reach[a].get(b, far) for b in node_of_token] for a in node_of_token])


def segments_from_markers(input_ids: torch.Tensor, markers: Sequence[int]) -> torch.Tensor:
    """Number of the node of each token: it goes up at every marker."""
    is_marker = torch.zeros_like(input_ids, dtype=torch.bool)
    for m in markers:
        is_marker |= input_ids == m
    return is_marker.long().cumsum(-1)


def chain_distances(segments: torch.Tensor, buckets: int) -> torch.Tensor:
    """What is used where no graph is given: nodes in a chain."""
    d = (segments[:, :, None] - segments[:, None, :]).abs()
    return d.clamp(max=buckets - 1)
