"""Caches of the folder's own that derive from those of transformers."""

from sources import CACHED

from cases.base import IMPORTS, M, case
from cases.stock_code import USES_CACHE

KEPT = """

class Kept(DynamicCache):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def update(self, key_states, value_states, layer_idx, cache_kwargs=None):
        before = self.kept.get(layer_idx)
        pair = (key_states, value_states)
        if before is not None:
            pair = tuple(torch.cat(two, 2) for two in zip(before, pair))
        self.kept[layer_idx] = pair
        return pair

    def get_seq_length(self, layer_idx=0):
        return self.kept[layer_idx][0].shape[2] if layer_idx in self.kept else 0
"""
BODY = KEPT.partition("        self.kept = {}\n")[2]
IN_FORWARD = (
    USES_CACHE,
    (M, IMPORTS, IMPORTS + KEPT),
    (M, "            cache = DynamicCache()\n", "            cache = Kept()\n"),
)
OF_CACHE = (
    (M, "class Kept(DynamicCache):", "class Kept(Cache):"),
    (M, "import DynamicCache, ", "import Cache, DynamicCache, "),
)
# as they were written up to 4.53: in the lists of DynamicCache
IN_LISTS = """
    def update(self, key_states, value_states, layer_idx, cache_kwargs=None):
        if len(self.key_cache) <= layer_idx:
            self.key_cache.append(key_states)
            self.value_cache.append(value_states)
        else:
            self.key_cache[layer_idx] = torch.cat([self.key_cache[layer_idx], key_states], 2)
            self.value_cache[layer_idx] = torch.cat([self.value_cache[layer_idx], value_states], 2)
        return self.key_cache[layer_idx], self.value_cache[layer_idx]

    def get_seq_length(self, layer_idx=0):
        return self.key_cache[layer_idx].shape[2] if len(self.key_cache) > layer_idx else 0
"""
SETS = "        self.key_cache = []\n        self.value_cache = []\n"
for _name in ("seen_tokens", "max_cache_len", "max_batch_size", "is_compileable", "is_initialized", "is_sliding"):
    case(
        f"P51.sets_{_name}",
        (M, f"        self.own_{_name} = 0\n", f"        self.{_name} = 0\n"),
        right=(
            *IN_FORWARD,
            (M, "        self.kept = {}\n", f"        self.kept = {{}}\n        self.own_{_name} = 0\n"),
        ),
        base=CACHED,
    )
case(
    "P51.argument_by_place",
    (M, "        super().__init__()\n        self.kept", "        super().__init__(layers)\n        self.kept"),
    right=(
        *IN_FORWARD,
        (
            M,
            "    def __init__(self):\n        super().__init__()\n        self.kept",
            "    def __init__(self, layers=1):\n        super().__init__()\n        self.kept",
        ),
    ),
    base=CACHED,
)
case("P51.without_layers", *OF_CACHE, right=IN_FORWARD, base=CACHED)
case("P51.reads_lists", (M, "        self.kept = {}\n" + BODY, IN_LISTS), right=IN_FORWARD, base=CACHED)
case("P51.sets_lists", (M, "        self.kept = {}\n" + BODY, SETS + IN_LISTS), right=IN_FORWARD, base=CACHED)
