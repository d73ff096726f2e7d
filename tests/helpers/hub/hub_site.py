"""Repositories for the tests of the Hub's pages: one that shows everything, and one that tries everything."""

import base64
import json
import struct
from urllib.parse import quote

from helpers.hub.hub_support import Server, file, large

CARD = """---
license: apache-2.0
pipeline_tag: image-classification
library_name: transformers
language: en
base_model: timm/resnet50d
datasets: [imagenet-1k]
tags: [custom_code, vision, resnet]
model-index:
- name: resnet50d
  results:
  - task: {type: image-classification}
    dataset: {name: ImageNet-1k, type: imagenet-1k}
    metrics:
    - {type: accuracy, name: Top-1 accuracy, value: 80.53}
    - {type: accuracy, name: Top-5 accuracy, value: 95.16}
---
# ResNet-50d

A 25.6 M-parameter ResNet-50d image classifier (224x224, 1000 classes), converted from
[timm/resnet50d](https://huggingface.co/timm/resnet50d). See [the code](modeling_resnet.py) and [Use](#use).

![Architecture: a stem and four stages](pictures/architecture.svg)

<picture><source media="(prefers-color-scheme: dark)" srcset="pictures/architecture.svg">
<img src="pictures/architecture.svg" width="200" alt="The same in a picture element"></picture>

[![Licence](https://img.example.org/badge.svg)](https://www.apache.org/licenses/LICENSE-2.0)
![A remote picture](https://img.example.org/curve.png)

| | Top-1 | Top-5 |
|---|---:|---:|
| resnet50d | 80.53 | 95.16 |
| resnet50 | 76.13 | 92.86 |

## Use

```python
from transformers import AutoModelForImageClassification

# ResNet-50d, pinned
model = AutoModelForImageClassification.from_pretrained("alice/resnet50d", trust_remote_code=True)
print(model.config.num_labels)  # 1000
```

Install with:

```bash
pip install "transformers>=4.48" "timm>=1.0.3"
```

## Training

Trained with ~~plain~~ **decoupled** weight decay; `AdamW`, cosine schedule.

1. Warm up for 5 epochs.
2. Train for 300.

> A quotation from the paper: *bags of tricks* improve it.

<details><summary>All arguments</summary>

- learning rate: 5e-3
- batch size: 1024

</details>

#### Limits

Not for medical use.
"""
CONFIG = {
    "model_type": "custom_resnet",
    "architectures": ["ResnetModelForImageClassification"],
    "auto_map": {
        "AutoConfig": "configuration_resnet.ResnetConfig",
        "AutoModel": "modeling_resnet.ResnetModel",
        "AutoModelForImageClassification": "modeling_resnet.ResnetModelForImageClassification",
    },
}
MODELING = '''"""ResNet-50d: a stem, four stages, a head."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_resnet import ResnetConfig
from .layers_resnet import Bottleneck


class ResnetModel(PreTrainedModel):
    """The backbone, without a head."""

    config_class = ResnetConfig

    def __init__(self, config: ResnetConfig):
        super().__init__(config)
        self.stem = nn.Conv2d(3, 64, kernel_size=7, stride=2)  # (batch, 64, height / 2, width / 2)
        self.stages = nn.ModuleList(Bottleneck(depth) for depth in config.depths)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(pixel_values)
        for stage in self.stages:
            hidden = stage(hidden)
        return hidden * 0.5 if hidden.ndim != 4 else hidden
'''
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="480" height="90" viewBox="0 0 480 90">
<style>text { font: 13px sans-serif; fill: #888 } rect { fill: #0b5a9c }</style>
<rect x="4" y="20" width="60" height="40"/><rect x="84" y="20" width="90" height="40"/>
<rect x="194" y="20" width="120" height="40"/><rect x="334" y="20" width="140" height="40"/>
<text x="4" y="80">stem</text></svg>"""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def safetensors(tensors: dict[str, tuple[str, list[int], int]], metadata: dict | None = None) -> bytes:
    """A file with zeros: name -> (dtype, shape, bytes)."""
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * at


WEIGHTS = safetensors(
    {
        "model.stem.weight": ("F32", [64, 3, 7, 7], 37_632),
        "model.stem.bias": ("F32", [64], 256),
        "model.layer1.0.conv1.weight": ("BF16", [64, 64, 1, 1], 8192),
        "head.weight": ("BF16", [10, 64], 1280),
        "logit_scale": ("F32", [], 4),
    },
    {"format": "pt"},
)
PARAMETERS = 64 * 3 * 49 + 64 + 64 * 64 + 640 + 1


def build(server: Server) -> dict[str, str]:
    """alice/resnet50d with commits, a tag, a branch and two discussions. Returns {title of a commit: sha}."""
    token, repo, made = server.token("alice"), "alice/resnet50d", {}
    server.create(repo, token)
    server.create("alice/secret", token, private=True)
    server.create("alice/digits", token, type="dataset")

    def commit(title: str, *lines: dict, to: str = repo, **options) -> None:
        reply = server.commit(to, token, *lines, summary=title, **options)
        assert reply.status == 200, reply
        made[title.partition("\n")[0]] = reply.json["commitOid"]

    def post(path: str, body: dict, who: str = token) -> None:
        reply = server.http("POST", f"/api/models/{repo}/{path}", body, who)
        assert reply.status == 200, reply

    configuration = "from transformers import PretrainedConfig\n\n\nclass ResnetConfig(PretrainedConfig):\n"
    commit(
        "Add the architecture",
        file("config.json", json.dumps(CONFIG, indent=2) + "\n"),
        file("configuration_resnet.py", f"{configuration}    depths = [3, 4, 6, 3]\n"),
        file("layers_resnet.py", "from torch import nn\n\n\nclass Bottleneck(nn.Module):\n    pass\n"),
        file("modeling_resnet.py", MODELING.replace(" * 0.5", "")),
    )
    server.upload(repo, token, WEIGHTS)
    commit("Add weights", large("model.safetensors", WEIGHTS))
    pictures = file("pictures/architecture.svg", SVG), file("pictures/dot.png", PNG)
    commit("Write the card\n\nWith a picture of the stages.", file("README.md", CARD), *pictures)
    commit(
        "Scale the output; mend what the tests found in the second stage when pictures are not square",
        file("modeling_resnet.py", MODELING),
        file("notes/train.yaml", "epochs: 300\nlearning_rate: 5.0e-3\n"),
        file("push_helper.py", "print('not loaded')\n"),
    )
    made["main"] = server.head(repo)
    post("tag/main", {"tag": "v1.0", "message": "First"})
    post("branch/try%2Fwider", {})
    wider = file("configuration_resnet.py", f"{configuration}    depths = [4, 5, 7, 4]\n")
    commit("Wider stages", wider, file("notes/train.yaml", "epochs: 600\n"), revision="try%2Fwider")
    commit("Say more", file("README.md", f"{CARD}\nMore.\n"), query="?create_pr=1")
    asked = "# Question\n\nI have **tall** ones; see [config](config.json)."
    post("discussions", {"title": "Does it need square pictures?", "description": asked}, server.token("bob"))
    post("discussions/2/status", {"status": "closed", "comment": "No.\n\n```python\nx = 1\n```"})
    commit("First words", file("README.md", "# Secret\n\n![dot](dot.png)\n"), file("dot.png", PNG), to="alice/secret")
    return made


EVIL = '"><img src=x onerror=alert(1)>'
SCRIPT = "<script>alert(1)</script>"
ATTACKS = f"""---
license: '{EVIL}'
pipeline_tag: '{SCRIPT}'
tags: ['{EVIL}', "\\ud800{SCRIPT}"]
base_model: 'javascript:alert(1)'
datasets: ['../../alice/secret']
model-index:
- results:
  - dataset: {{name: '{EVIL}'}}
    metrics: [{{name: '{SCRIPT}', value: '{EVIL}'}}]
---
# Title {SCRIPT} <img src=x onerror=alert(1)>

{SCRIPT}<style>body {{ display: none }}</style><iframe src="/login"></iframe><base href="https://evil.example/">
<form action="https://evil.example/"><input name=a><button formaction="javascript:alert(1)">b</button></form>
<svg onload=alert(1)><script>alert(1)</script></svg><math><mi xlink:href="javascript:alert(1)">x</mi></math>
<a href="javascript:alert(1)" onclick="alert(1)">one</a> <a href="java&#10;script:alert(1)">two</a>
<a href="data:text/html,{SCRIPT}">three</a> <img src="data:image/svg+xml,{SCRIPT}" onerror="alert(1)">
<img src="https://evil.example/track.png" srcset="https://evil.example/2.png 2x" alt='{EVIL}'>
<img src="//evil.example/track.png" alt="protocol"> <img src="/\\evil.example/track.png" alt="slash">
<p style="position: fixed" class="badge" id="page-main" onmouseover=alert(1)>styled</p></article></main></body>
<meta http-equiv="refresh" content="0;url=https://evil.example/"><link rel=stylesheet href="https://evil.example/x.css">
<details open ontoggle=alert(1)><summary>fine</summary>text</details><object data=x></object><video src=x></video>
<span class="toast copy" data-copy="rm -rf /">span</span><img alt="<pre><script>alert(1)</script>" src="a.png">

[link](javascript:alert(1)) [vb](vbscript:x) [up](../../../../../login) [auto](<javascript:alert(1)>)
![p](javascript:alert(1)) ![r](https://evil.example/r.png) <javascript:alert(1)> [ref]

[ref]: javascript:alert(1) "{SCRIPT}"

```<script>alert(1)</script>
</code></pre>{SCRIPT}
```

```python
"</span></code></pre>{SCRIPT}"
```
"""


def attack(server: Server) -> dict[str, str]:
    """mallory/attack: markup wherever a user may write. Returns pages that show it: {what: path}."""
    token, repo, made = server.token("mallory"), "mallory/attack", {}
    server.create(repo, token)
    weights = safetensors({EVIL: ("F32", [1], 4), SCRIPT: ("F32", [1], 4)}, {SCRIPT: EVIL})
    server.upload(repo, token, weights)
    branch = '"onload=alert(1)<script>alert(1)<'
    quoted = branch.replace('"', "%22").replace("<", "%3C").replace(">", "%3E")
    path = f"{SCRIPT.replace('/', '|')}/{EVIL}.py"
    reply = server.commit(
        repo,
        token,
        file("README.md", ATTACKS),
        file(path, f"# {SCRIPT}\nx = '{EVIL}'\n"),
        file(
            "config.json", json.dumps({"auto_map": {f"AutoModel{EVIL}": f"{EVIL}.X", "AutoModel": f"{SCRIPT}--a.B"}})
        ),
        file("evil.svg", f"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>{SCRIPT}</svg>"),
        large("model.safetensors", weights),
        summary=f"Title {SCRIPT} {EVIL}",
        description=f"{EVIL}{SCRIPT}",
    )
    assert reply.status == 200, reply
    sha, base = reply.json["commitOid"], f"/{repo}"
    assert server.http("POST", f"/api/models/{repo}/branch/{quoted}", {}, token).status == 200
    talk = {"title": f"{SCRIPT}{EVIL}", "description": ATTACKS}
    assert server.http("POST", f"/api/models/{repo}/discussions", talk, token).status == 200
    made["card"] = base
    made["list"] = "/?search=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    made["files"] = f"{base}/tree/main"
    made["folder"] = f"{base}/tree/{quoted}/{quote(path.rpartition('/')[0])}"
    made["code"] = f"{base}/blob/main/{quote(path)}"
    made["readme"] = f"{base}/blob/main/README.md"
    made["source"] = f"{base}/blob/main/README.md?source=1"
    made["tensors"] = f"{base}/blob/main/model.safetensors"
    made["picture"] = f"{base}/blob/main/evil.svg"
    made["commits"] = f"{base}/commits/main"
    made["commit"] = f"{base}/commit/{sha}"
    made["refs"] = f"{base}/refs"
    made["compare"] = f"{base}/compare/{sha}..{quoted}?files=all"
    made["discussions"] = f"{base}/discussions"
    made["discussion"] = f"{base}/discussions/1"
    made["error"] = f"{base}/tree/{quoted}%3Cimg%20src=x%20onerror=alert(1)%3E"
    return made
