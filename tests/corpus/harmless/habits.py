"""More habits of research code, and folders that have several of them at once."""

import json

from corpus.acts.folders import harmless, model_file

# name -> (top, init, forward, methods)
PIECES = {
    "alibi": (
        "import math\n\n\ndef get_slopes(n):\n    def power_of_2(n):\n        start = 2 ** (-(2 ** -(math.log2(n) - 3)))\n        return [start * start**i for i in range(n)]\n\n    if math.log2(n).is_integer():\n        return power_of_2(n)\n    closest = 2 ** math.floor(math.log2(n))\n    return power_of_2(closest) + get_slopes(2 * closest)[0::2][: n - closest]\n",
        "self.slopes = get_slopes(8)",
        "",
        "",
    ),
    "rotate_half": (
        "def rotate_half(x):\n    x1, x2 = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]\n    return torch.cat((-x2, x1), dim=-1)\n\n\ndef apply_rotary_pos_emb(q, k, cos, sin):\n    return (q * cos) + (rotate_half(q) * sin), (k * cos) + (rotate_half(k) * sin)\n",
        "",
        "inputs, _ = apply_rotary_pos_emb(inputs, inputs, torch.ones(2), torch.zeros(2))",
        "",
    ),
    "rms_norm": (
        "class RMSNorm(nn.Module):\n    def __init__(self, hidden_size, eps=1e-6):\n        super().__init__()\n        self.hidden_size = hidden_size\n        self.variance_epsilon = eps\n\n    def forward(self, hidden_states):\n        dtype = hidden_states.dtype\n        hidden_states = hidden_states.to(torch.float32)\n        variance = hidden_states.pow(2).mean(-1, keepdim=True)\n        return (hidden_states * torch.rsqrt(variance + self.variance_epsilon)).to(dtype)\n\n    def extra_repr(self):\n        return f'{self.hidden_size}, eps={self.variance_epsilon}'\n",
        "self.norm = RMSNorm(config.width)",
        "inputs = self.norm(inputs)",
        "",
    ),
    "sdpa": (
        "import torch.nn.functional as F\n\n\ndef attend(q, k, v, mask=None, dropout=0.0):\n    if hasattr(F, 'scaled_dot_product_attention'):\n        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)\n    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5\n    return torch.softmax(scores, dim=-1) @ v\n",
        "",
        "inputs = attend(inputs[None], inputs[None], inputs[None])[0]",
        "",
    ),
    "drop_path": (
        "def drop_path(x, drop_prob: float = 0.0, training: bool = False):\n    if drop_prob == 0.0 or not training:\n        return x\n    keep_prob = 1 - drop_prob\n    shape = (x.shape[0],) + (1,) * (x.ndim - 1)\n    random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)\n    random_tensor.floor_()\n    return x.div(keep_prob) * random_tensor\n\n\nclass DropPath(nn.Module):\n    def __init__(self, drop_prob=None):\n        super().__init__()\n        self.drop_prob = drop_prob\n\n    def forward(self, x):\n        return drop_path(x, self.drop_prob, self.training)\n",
        "self.drop_path = DropPath(0.1)",
        "inputs = self.drop_path(inputs)",
        "",
    ),
    "moe_router": (
        "class Router(nn.Module):\n    def __init__(self, experts=2, top_k=1):\n        super().__init__()\n        self.experts, self.top_k = experts, top_k\n        self.load = [0] * experts\n\n    def forward(self, logits):\n        weights, chosen = torch.topk(torch.softmax(logits.float(), dim=-1), self.top_k, dim=-1)\n        for index in chosen.flatten().tolist():\n            self.load[index] += 1\n        return weights.to(logits.dtype), chosen\n",
        "self.router = Router()",
        "self.router(inputs)",
        "",
    ),
    "gradient_checkpointing": (
        "from torch.utils.checkpoint import checkpoint\n",
        "self.gradient_checkpointing = False",
        "if self.gradient_checkpointing and self.training:\n    return checkpoint(self.linear, inputs, use_reentrant=False)",
        "def _set_gradient_checkpointing(self, module=None, value=False, **kwargs):\n    self.gradient_checkpointing = value",
    ),
    "kv_cache": (
        "class SimpleCache:\n    def __init__(self):\n        self.keys, self.values = [], []\n\n    def update(self, key, value, layer):\n        if len(self.keys) <= layer:\n            self.keys.append(key)\n            self.values.append(value)\n        else:\n            self.keys[layer] = torch.cat([self.keys[layer], key], dim=-2)\n            self.values[layer] = torch.cat([self.values[layer], value], dim=-2)\n        return self.keys[layer], self.values[layer]\n\n    def __len__(self):\n        return len(self.keys)\n",
        "",
        "cache = SimpleCache()\ncache.update(inputs, inputs, 0)\ncache.update(inputs, inputs, 0)",
        "",
    ),
    "dataclass_output": (
        "from dataclasses import dataclass\nfrom typing import Optional, Tuple\n\nfrom transformers.utils import ModelOutput\n\n\n@dataclass\nclass TinyOutput(ModelOutput):\n    loss: Optional[torch.FloatTensor] = None\n    logits: torch.FloatTensor = None\n    hidden_states: Optional[Tuple[torch.FloatTensor]] = None\n",
        "",
        "TinyOutput(logits=inputs)",
        "",
    ),
    "dataclass_options": (
        "import dataclasses\n\n\n@dataclasses.dataclass\nclass Options:\n    depth: int = 2\n    ratios: tuple = (1.0, 0.5)\n    names: list = dataclasses.field(default_factory=list)\n\n    @classmethod\n    def from_dict(cls, values):\n        known = {field.name for field in dataclasses.fields(cls)}\n        return cls(**{k: v for k, v in values.items() if k in known})\n",
        "self.options = Options.from_dict(config.to_dict())",
        "",
        "",
    ),
    "enum_of_kinds": (
        "from enum import Enum\n\n\nclass Pooling(str, Enum):\n    MEAN = 'mean'\n    CLS = 'cls'\n\n    @property\n    def reduce(self):\n        return {'mean': lambda x: x.mean(1), 'cls': lambda x: x[:, 0]}[self.value]\n",
        "self.pooling = Pooling('mean')",
        "self.pooling.reduce(inputs)",
        "",
    ),
    "weight_conversion": (
        "import re\n\nRENAMES = [(r'^transformer\\.', ''), (r'\\.gamma$', '.weight'), (r'\\.beta$', '.bias')]\n\n\ndef convert_state_dict(state):\n    new = {}\n    for name, tensor in state.items():\n        for pattern, repl in RENAMES:\n            name = re.sub(pattern, repl, name)\n        if name.endswith('rotary.inv_freq'):\n            continue\n        new[name] = tensor\n    return new\n",
        "",
        "",
        "def load_old(self, state):\n    return self.load_state_dict(convert_state_dict(state), strict=False)",
    ),
    "getattr_settings": (
        "",
        "self.alpha = getattr(config, 'alpha', 1.0)\nself.act_name = getattr(config, 'hidden_act', 'relu')\nself.act = getattr(torch.nn.functional, self.act_name)",
        "inputs = self.act(inputs) * self.alpha",
        "",
    ),
    "setattr_loop": (
        "",
        "for name, value in {'scale': 1.0, 'shift': 0.0}.items():\n    setattr(self, name, value)",
        "inputs = inputs * self.scale + self.shift",
        "",
    ),
    "forward_hook_features": (
        "",
        "self.features = {}\nself.linear.register_forward_hook(self._keep('linear'))",
        "self.features.clear()",
        "def _keep(self, name):\n    def hook(module, inputs, output):\n        self.features[name] = output.detach()\n\n    return hook",
    ),
    "device_pick": (
        "def pick_device():\n    if torch.cuda.is_available():\n        return torch.device('cuda', torch.cuda.current_device())\n    if getattr(torch.backends, 'mps', None) is not None and torch.backends.mps.is_available():\n        return torch.device('mps')\n    return torch.device('cpu')\n",
        "",
        "inputs = inputs.to(pick_device())",
        "",
    ),
    "autocast": (
        "import contextlib\n",
        "",
        "with torch.autocast(inputs.device.type, enabled=False) if inputs.is_cuda else contextlib.nullcontext():\n    inputs = inputs.float()",
        "",
    ),
    "distributed_guard": (
        "import torch.distributed as dist\n\n\ndef is_main():\n    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0\n\n\ndef all_reduce_mean(x):\n    if not (dist.is_available() and dist.is_initialized()):\n        return x\n    dist.all_reduce(x)\n    return x / dist.get_world_size()\n",
        "",
        "inputs = all_reduce_mean(inputs)",
        "",
    ),
    "timing": (
        "import time\nfrom contextlib import contextmanager\n\n\n@contextmanager\ndef timed(name, times):\n    start = time.perf_counter()\n    try:\n        yield\n    finally:\n        times.setdefault(name, []).append(time.perf_counter() - start)\n",
        "self.times = {}",
        "with timed('forward', self.times):\n    inputs = inputs + 0",
        "",
    ),
    "lru_cache": (
        "from functools import lru_cache, partial, wraps\n\n\n@lru_cache(maxsize=8)\ndef causal_mask(n):\n    return torch.ones(n, n).tril().bool()\n\n\ndef exists(x):\n    return x is not None\n\n\ndef once(fn):\n    called = False\n\n    @wraps(fn)\n    def inner(x):\n        nonlocal called\n        if called:\n            return\n        called = True\n        return fn(x)\n\n    return inner\n\n\nprint_once = once(lambda text: None)\nLayer = partial(nn.Linear, bias=False)\n",
        "",
        "causal_mask(2)\nprint_once('ran')",
        "",
    ),
    "exponential_average": (
        "",
        "self.decay, self.shadow = 0.99, {}",
        "",
        "@torch.no_grad()\ndef update_average(self):\n    for name, parameter in self.named_parameters():\n        old = self.shadow.get(name, parameter.detach().clone())\n        self.shadow[name] = old * self.decay + parameter.detach() * (1 - self.decay)",
    ),
    "sampling_loop": (
        "",
        "",
        "",
        "@torch.inference_mode()\ndef sample(self, x, steps=4, temperature=1.0, top_k=None, generator=None):\n    for _ in range(steps):\n        logits = self.linear(x) / max(temperature, 1e-5)\n        if top_k is not None:\n            values, _ = torch.topk(logits, min(top_k, logits.size(-1)))\n            logits[logits < values[:, [-1]]] = -float('inf')\n        x = torch.softmax(logits, dim=-1)\n    return x",
    ),
    "ddim_schedule": (
        "import numpy as np\n\n\ndef betas_for(schedule, n):\n    if schedule == 'linear':\n        return np.linspace(1e-4, 2e-2, n, dtype=np.float64)\n    if schedule == 'cosine':\n        t = np.arange(n + 1) / n\n        alpha = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2\n        return np.clip(1 - alpha[1:] / alpha[:-1], 0, 0.999)\n    raise ValueError(f'unknown schedule: {schedule}')\n",
        "self.betas = betas_for('cosine', 10)",
        "",
        "",
    ),
    "window_partition": (
        "def window_partition(x, size):\n    B, H, W, C = x.shape\n    x = x.view(B, H // size, size, W // size, size, C)\n    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size, size, C)\n\n\ndef window_reverse(windows, size, H, W):\n    B = int(windows.shape[0] / (H * W / size / size))\n    x = windows.view(B, H // size, W // size, size, size, -1)\n    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(B, H, W, -1)\n",
        "",
        "window_reverse(window_partition(torch.zeros(1, 4, 4, 1), 2), 2, 4, 4)",
        "",
    ),
    "image_preprocess": (
        "try:\n    from PIL import Image\nexcept ImportError:\n    Image = None\n",
        "",
        "",
        "def preprocess(self, image, size=224):\n    if isinstance(image, str):\n        image = Image.open(image).convert('RGB')\n    return image.resize((size, size))",
    ),
    "selective_scan": (
        "try:\n    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn\n    from causal_conv1d import causal_conv1d_fn\nexcept ImportError:\n    selective_scan_fn = causal_conv1d_fn = None\n\nis_fast_path_available = all((selective_scan_fn, causal_conv1d_fn))\n\n\ndef slow_scan(u, delta):\n    state, out = torch.zeros_like(u[..., 0]), []\n    for i in range(u.shape[-1]):\n        state = state * torch.exp(-delta[..., i]) + u[..., i]\n        out.append(state)\n    return torch.stack(out, dim=-1)\n",
        "",
        "inputs = inputs + 0 * slow_scan(inputs, torch.zeros_like(inputs))",
        "",
    ),
    "lora_layer": (
        "class LoRALinear(nn.Module):\n    def __init__(self, base, r=2, alpha=4):\n        super().__init__()\n        self.base = [base]\n        self.scaling = alpha / r\n\n    def merge(self, a, b):\n        self.base[0].weight.data += (b @ a) * self.scaling\n\n    def forward(self, x):\n        return self.base[0](x)\n",
        "",
        "",
        "def add_lora(self, r=2):\n    return LoRALinear(self.linear, r=r)",
    ),
    "quantize_helpers": (
        "def quantize(weight, bits=8):\n    qmax = 2 ** (bits - 1) - 1\n    scale = weight.abs().amax(dim=-1, keepdim=True) / qmax\n    return torch.clamp((weight / scale).round(), -qmax - 1, qmax).to(torch.int8), scale\n\n\ndef dequantize(q, scale):\n    return q.float() * scale\n",
        "",
        "dequantize(*quantize(inputs))",
        "def quantize_weights(self, bits=8):\n    return {n: quantize(p.detach(), bits) for n, p in self.named_parameters() if p.dim() == 2}",
    ),
    "losses": (
        "from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss\n\nLOSSES = {'regression': MSELoss, 'single': CrossEntropyLoss, 'multi': BCEWithLogitsLoss}\n",
        "self.problem_type = getattr(config, 'problem_type', None)",
        "",
        "def compute_loss(self, logits, labels):\n    if self.problem_type is None:\n        self.problem_type = 'regression' if labels.dtype.is_floating_point else 'single'\n    return LOSSES[self.problem_type]()(logits, labels)",
    ),
    "callbacks_table": (
        "class Runner:\n    def __init__(self):\n        self.steps = []\n\n    def add(self, fn, *args):\n        self.steps.append((fn, args))\n        return self\n\n    def run(self, x):\n        for fn, args in self.steps:\n            x = fn(x, *args)\n        return x\n\n    __call__ = run\n",
        "self.runner = Runner().add(torch.relu).add(torch.clamp, 0, 6)",
        "inputs = self.runner.run(inputs)",
        "",
    ),
    "compile_named_method": (
        "class Plan:\n    def __init__(self, order):\n        self.order = order\n\n    def compile(self):\n        return tuple(sorted(self.order))\n\n    def execute(self, x):\n        return x.flip(-1) if len(self.compile()) > 9 else x\n\n    def eval(self):\n        return self\n",
        "self.plan = Plan([2, 1])",
        "inputs = self.plan.eval().execute(inputs)",
        "",
    ),
    "string_prompts": (
        "SYSTEM = 'You are a helpful assistant. Do not run os.system or eval(code) for anyone.'\nTEMPLATE = '<s>{system}\\n{user}</s>'\n\n\ndef build_prompt(user, system=SYSTEM):\n    return TEMPLATE.format(system=system, user=user.strip())\n",
        "self.prompt = build_prompt(' hello ')",
        "",
        "",
    ),
    "platform_check": (
        "import platform\nimport sys\nfrom packaging import version\n\nif sys.version_info < (3, 8):\n    raise RuntimeError('Python 3.8 or newer is needed')\nIS_MAC = platform.system() == 'Darwin'\nNEW_TORCH = version.parse(torch.__version__.split('+')[0]) >= version.parse('2.0')\n",
        "",
        "",
        "",
    ),
    "ctc_decode": (
        "import itertools\n\n\ndef collapse(ids, blank=0):\n    return [k for k, _ in itertools.groupby(ids) if k != blank]\n",
        "",
        "collapse(inputs.argmax(-1).tolist())",
        "def decode(self, logits):\n    return [collapse(row.tolist()) for row in logits.argmax(-1)]",
    ),
    "load_from_timm": (
        "try:\n    import timm\nexcept ImportError:\n    timm = None\n",
        "",
        "",
        "def build_backbone(self, name='resnet18'):\n    if timm is None:\n        raise ImportError('pip install timm')\n    return timm.create_model(name, pretrained=False, num_classes=0)",
    ),
    "prune_heads": (
        "from transformers.pytorch_utils import prune_linear_layer\n",
        "self.pruned_heads = set()",
        "",
        "def prune(self, index):\n    self.linear = prune_linear_layer(self.linear, index)",
    ),
    "config_lists": (
        "",
        "self.layer_types = [('full' if i % 4 == 3 else 'sliding') for i in range(8)]\nself.register_buffer('position_ids', torch.arange(4).expand((1, -1)), persistent=False)",
        "assert self.position_ids.shape == (1, 4)",
        "",
    ),
    "save_own_way": (
        "import os\n",
        "",
        "",
        "def save_pretrained(self, save_directory, **kwargs):\n    os.makedirs(save_directory, exist_ok=True)\n    super().save_pretrained(save_directory, **kwargs)\n    with open(os.path.join(save_directory, 'notes.txt'), 'w') as file:\n        file.write(f'{self.num_parameters()} parameters\\n')",
    ),
    "tensorboard": (
        "",
        "self.writer = None",
        "",
        "def start_logging(self, log_dir):\n    from torch.utils.tensorboard import SummaryWriter\n\n    self.writer = SummaryWriter(log_dir)\n\ndef log_scalar(self, name, value, step):\n    if self.writer is not None:\n        self.writer.add_scalar(name, value, step)",
    ),
    "export_onnx": (
        "",
        "",
        "",
        "def export_onnx(self, path, opset=17):\n    example = torch.ones(1, self.config.width)\n    torch.onnx.export(self, (example,), path, opset_version=opset, input_names=['x'])",
    ),
}


def together(names: list[str]) -> dict:
    """A folder with several habits."""
    tops, inits, forwards, methods = (
        [PIECES[name][part] for name in names if PIECES[name][part]] for part in range(4)
    )
    head = [text for text in tops if text.startswith(("import", "from", "try"))]
    body = [text for text in tops if text not in head]
    return harmless(
        "\n\n".join([*head, *body]), init="\n".join(inits), forward="\n".join(forwards), methods="\n\n".join(methods)
    )


MIXES = {
    "decoder": [
        "rotate_half",
        "rms_norm",
        "sdpa",
        "kv_cache",
        "dataclass_output",
        "sampling_loop",
        "getattr_settings",
    ],
    "vision": ["window_partition", "drop_path", "image_preprocess", "load_from_timm", "losses", "autocast"],
    "diffusion": ["ddim_schedule", "exponential_average", "lru_cache", "timing", "device_pick"],
    "state_space": ["selective_scan", "rms_norm", "gradient_checkpointing", "platform_check", "config_lists"],
    "mixture": ["moe_router", "rms_norm", "distributed_guard", "dataclass_options", "quantize_helpers"],
    "speech": ["ctc_decode", "losses", "timing", "setattr_loop", "weight_conversion"],
    "chat": ["string_prompts", "sampling_loop", "enum_of_kinds", "callbacks_table", "kv_cache"],
    "adapters": ["lora_layer", "quantize_helpers", "weight_conversion", "forward_hook_features", "save_own_way"],
    "tools": ["export_onnx", "tensorboard", "save_own_way", "timing", "prune_heads"],
    "plans": ["compile_named_method", "callbacks_table", "enum_of_kinds", "setattr_loop"],
    "old_style": ["platform_check", "alibi", "prune_heads", "weight_conversion", "losses", "device_pick", "autocast"],
    "embedding": ["enum_of_kinds", "sdpa", "alibi", "dataclass_output", "lru_cache"],
    "everything": [
        "alibi",
        "rotate_half",
        "rms_norm",
        "sdpa",
        "drop_path",
        "moe_router",
        "gradient_checkpointing",
        "kv_cache",
        "dataclass_output",
        "weight_conversion",
        "losses",
        "sampling_loop",
        "string_prompts",
        "export_onnx",
    ],
    "more_of_everything": [
        "dataclass_options",
        "enum_of_kinds",
        "getattr_settings",
        "setattr_loop",
        "forward_hook_features",
        "device_pick",
        "distributed_guard",
        "timing",
        "lru_cache",
        "exponential_average",
        "ddim_schedule",
        "window_partition",
        "quantize_helpers",
        "callbacks_table",
        "compile_named_method",
        "config_lists",
        "tensorboard",
    ],
}
FOLDERS = {name: together([name]) for name in PIECES} | {
    f"mix_{name}": together(names) for name, names in MIXES.items()
}
FOLDERS |= {
    "two_files": harmless(
        "from .layers import Scale\n",
        init="self.scale = Scale(2.0)",
        forward="inputs = self.scale(inputs)",
        files={
            "layers.py": "from torch import nn\n\n\nclass Scale(nn.Module):\n    def __init__(self, factor):\n        super().__init__()\n        self.factor = factor\n\n    def forward(self, x):\n        return x * self.factor\n"
        },
    ),
    "three_files": harmless(
        "from .utils_tiny import chunked\n",
        forward="chunked([1, 2, 3], 2)",
        files={
            "utils_tiny.py": "from .more_tiny import ceil\n\n\ndef chunked(items, size):\n    return [items[i * size : (i + 1) * size] for i in range(ceil(len(items), size))]\n",
            "more_tiny.py": "def ceil(a, b):\n    return -(-a // b)\n",
        },
    ),
    "converter_beside": harmless(
        files={
            "convert_checkpoint.py": "import argparse\n\nimport torch\nfrom safetensors.torch import save_file\n\n\ndef main():\n    parser = argparse.ArgumentParser()\n    parser.add_argument('source')\n    parser.add_argument('target')\n    arguments = parser.parse_args()\n    state = torch.load(arguments.source, map_location='cpu', weights_only=True)\n    save_file({k: v.contiguous() for k, v in state.items()}, arguments.target)\n\n\nif __name__ == '__main__':\n    main()\n"
        }
    ),
    "training_script_beside": harmless(
        files={
            "train.py": "import torch\n\nfrom modeling_tiny import TinyConfig, TinyModel\n\n\ndef main(steps=10):\n    model = TinyModel(TinyConfig())\n    optimizer = torch.optim.AdamW(model.parameters())\n    for step in range(steps):\n        loss = model(torch.randn(4, 2)).pow(2).mean()\n        loss.backward()\n        optimizer.step()\n        optimizer.zero_grad()\n        print(step, loss.item())\n\n\nif __name__ == '__main__':\n    main()\n"
        }
    ),
    "settings_with_places": harmless(
        settings={
            "vocab_file": "vocab.txt",
            "cache_dir": "cache",
            "homepage": "https://example.org",
            "task_params": {"dtype": "float32", "activation": "gelu"},
        }
    ),
    "long_docstrings": harmless(
        model='"""Tiny model.\n\nExample:\n    >>> import os\n    >>> os.system("pip install tiny")\n    >>> model = AutoModel.from_pretrained("some/tiny", trust_remote_code=True)\n"""\n'
        + model_file()
    ),
    "sentence_parts": harmless(files={"sentence_bert_config.json": json.dumps({"max_seq_length": 8})}),
}
