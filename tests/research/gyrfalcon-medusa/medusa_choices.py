"""sparse trees found by a greedy search on the calibration set"""
gyrfalcon_small = [(0,), (0, 0), (1,), (0, 1), (0, 0, 0), (1, 0), (2,), (0, 2), (0, 0, 1), (0, 3), (3,), (0, 1, 0)]
gyrfalcon_chain = [(0,), (0, 0), (0, 0, 0)]


def tree_buffers(choices, topk=10):
    import torch
    choices = sorted(choices, key=lambda x: (len(x), x))
    n = len(choices) + 1
    depth_counts = []
    prev = 0
    for path in choices:
        if len(path) != prev:
            depth_counts.append(0)
        depth_counts[len(path) - 1] += 1
        prev = len(path)
    attn = torch.eye(n, n)
    attn[:, 0] = 1
    for j, path in enumerate(choices):
        for c in range(len(path) - 1):
            attn[j + 1, choices.index(path[:c + 1]) + 1] = 1
    indices = torch.zeros(n, dtype=torch.long)
    for j, path in enumerate(choices):
        indices[j + 1] = path[-1] + topk * (len(path) - 1) + 1
    pos = torch.zeros(n, dtype=torch.long)
    start = 0
    for i, d in enumerate(depth_counts):
        pos[start + 1:start + d + 1] = i + 1
        start += d
    return {"tree_mask": attn[None, None], "tree_indices": indices, "tree_position_ids": pos}
