# data collator; needs no model
from typing import Any, List, Mapping

import numpy as np
import torch


class MolGraphDataCollator:
    def __init__(self, max_nodes: int = 128):
        self.max_nodes = max_nodes

    def __call__(self, features: List[dict]) -> Mapping[str, Any]:
        features = [f for f in features if len(f["node_feat"]) <= self.max_nodes]
        n = max(len(f["node_feat"]) for f in features)
        e = max(len(f["edge_attr"]) for f in features)
        node = torch.zeros(len(features), n, dtype=torch.long)
        index = torch.zeros(len(features), 2, e, dtype=torch.long)
        attr = torch.zeros(len(features), e, dtype=torch.long)
        for i, f in enumerate(features):
            node[i, : len(f["node_feat"])] = torch.tensor(np.asarray(f["node_feat"])).reshape(-1) + 1
            k = len(f["edge_attr"])
            index[i, :, :k] = torch.tensor(np.asarray(f["edge_index"]))
            attr[i, :k] = torch.tensor(np.asarray(f["edge_attr"])).reshape(-1) + 1
        batch = {"node_feat": node, "edge_index": index, "edge_attr": attr}
        if "y" in features[0]:
            batch["labels"] = torch.tensor([f["y"] for f in features], dtype=torch.float)
        return batch
