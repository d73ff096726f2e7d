"""The demo from pictures to pinned load, through the front door: the command line, real servers, fresh processes."""

import re
import subprocess
import sys

import pytest
from helpers.hub.card_page import copied_example_runs
from helpers.processes import ROOT, clean_environment

from pinfold.remote import destination

pytestmark = pytest.mark.slow  # the demo is trained and pushed for it


def script(code, cwd, endpoint, overlay=None, **environment):
    """Run Python in a new process with an empty cache, as a user of the given Hub."""
    path = str(overlay) if overlay else ""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=clean_environment(cwd / "home", HF_ENDPOINT=endpoint, PYTHONPATH=path, **environment),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def demo(resnet_demo, tmp_path_factory):
    """Trained and pushed as `make push` does it: (working directory, sha, what training measured)."""
    copy = resnet_demo.copy_to(tmp_path_factory.mktemp("demo"))
    return copy.directory, copy.sha, copy.evaluation


@pytest.fixture
def served(demo):
    """The demo's Hub, serving: (address, sha)."""
    with destination.running(demo[0] / "runs" / "hub") as server:
        yield f"http://127.0.0.1:{server['port']}", demo[1]


ACCURACY = """
import sys
sys.path.append({root!r})
import torch
from pinfold.train.data.pictures import load_data
from pinfold.train.tasks.task import hold_out
from transformers import AutoImageProcessor, AutoModelForImageClassification
pinned = dict(pretrained_model_name_or_path="local/resnet-digits", revision={sha!r}, trust_remote_code=True)
model = AutoModelForImageClassification.from_pretrained(**pinned)
processor = AutoImageProcessor.from_pretrained(**pinned)
data = load_data("digits")
_, held = hold_out(len(data.labels), 0.2, 0, "picture", classes=data.labels)
with torch.no_grad():
    logits = model.eval()(**processor(images=[data.images[i] for i in held], return_tensors="pt")).logits
right = sum(int(row.argmax()) == data.labels[i] for row, i in zip(logits, held))
print("ACCURACY", right / len(held), len(held))
"""


def test_the_example_copied_from_the_cards_page_prints_what_the_card_shows(served, tmp_path):
    assert "processor(picture" in copied_example_runs(served[0], "local/resnet-digits", tmp_path / "home")


def test_the_pinned_model_has_its_held_out_accuracy(demo, served, tmp_path):
    out = script(ACCURACY.format(root=str(ROOT), sha=served[1]), tmp_path, served[0])
    accuracy, count = re.search(r"ACCURACY (\S+) (\d+)", out).groups()
    assert float(accuracy) == demo[2]["metrics"]["accuracy"] >= 0.97 and int(count) == demo[2]["n"] == 360


PIPELINE = """
from PIL import Image
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, pipeline
picture = Image.fromarray((load_digits().images[3] * 15).astype("uint8"))
pinned = dict(revision={sha!r}, trust_remote_code=True)
{extra}
found = pipeline("image-classification", model="local/resnet-digits", **pinned)(picture)
print("FOUND", found[0]["label"], found[0]["score"])
"""


@pytest.mark.parametrize("version", ["newest", "4.48.3"])
def test_pipeline_reads_a_digit_from_the_pinned_repository(served, overlay, tmp_path, version):
    old = None if version == "newest" else overlay(version)
    # up to 4.52 the pipeline needs to be told where the image processor is
    extra = 'pinned["image_processor"] = "local/resnet-digits"' if old else ""
    out = script(PIPELINE.format(sha=served[1], extra=extra), tmp_path, served[0], old)
    assert "FOUND 3 " in out


NATIVE = """
import sys
sys.path.append({root!r})
import torch
from resnet_model.configuration_resnet import ResnetConfig
from resnet_model.modeling_resnet import ResnetModel, ResnetModelForImageClassification
from resnet_model.image_processing_resnet import ResnetImageProcessor
torch.manual_seed(0)
config = ResnetConfig("basic", [1, 1, 1, 1], num_classes=3)
config.push_to_hub("local/native-config")
ResnetModelForImageClassification(config).push_to_hub("local/native")
ResnetImageProcessor().push_to_hub("local/native")
"""
READ = """
import torch, transformers
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained("local/native", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("local/native", trust_remote_code=True)
config = AutoConfig.from_pretrained("local/native-config", trust_remote_code=True)
print("READ", type(model).__name__, type(processor).__name__, type(config).__name__, config.num_labels)
"""


@pytest.mark.parametrize("version", ["newest", pytest.param("4.57.6", marks=pytest.mark.sweep)])
def test_native_push_to_hub_carries_the_code_along_in_both_client_generations(overlay, tmp_path, version):
    old = None if version == "newest" else overlay(version)
    with destination.running(tmp_path / "hub") as server:
        endpoint = f"http://127.0.0.1:{server['port']}"
        script(
            NATIVE.format(root=str(ROOT)), tmp_path, endpoint, old, HF_TOKEN=server["token"], HF_HUB_DISABLE_XET="1"
        )
        out = script(READ, tmp_path / "home", endpoint, old)
    assert "READ ResnetModelForImageClassification ResnetImageProcessor ResnetConfig 3" in out


CHECKOUT = """
import sys
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
config = AutoConfig.from_pretrained(".", trust_remote_code=True, layers=[1, 1, 1, 1], base_width=16)
torch.manual_seed(0)
model = AutoModelForImageClassification.from_config(config, trust_remote_code=True).eval()
sys.path.insert(0, {root!r})
from pinfold.push import push
published = push(model, repo="local/checkout", folder="resnet_model", endpoint={endpoint!r}, token={token!r})
pinned = dict(revision=published.revision, trust_remote_code=True)
again = AutoModelForImageClassification.from_pretrained("local/checkout", **pinned)
base = AutoModel.from_config(config, trust_remote_code=True).eval()
base.load_state_dict(again.state_dict())
x = torch.sin(torch.arange(2 * 3 * 64 * 64.0)).reshape(2, 3, 64, 64)
ours, theirs = model.state_dict(), again.state_dict()
same = ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
print("CHECKOUT", type(base).__name__, config.stem_type, same, torch.equal(model(x).logits, again(x).logits))
"""


def test_the_checkout_loads_as_it_is_and_equals_the_pushed_copy(hub, tmp_path):
    code = CHECKOUT.format(root=str(ROOT), endpoint=hub["url"], token=hub["token"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(tmp_path / "home", HF_ENDPOINT=hub["url"]),
        capture_output=True,
        text=True,
    )
    assert "CHECKOUT ResnetModel deep True True" in done.stdout, done.stderr[-3000:]


def test_signing_in_with_huggingface_hubs_own_command_is_enough(hub, tmp_path):
    """`hf auth login` stores the token; a push finds it there."""
    code = """
import huggingface_hub
huggingface_hub.login(token={token!r}, add_to_git_credential=False)
print("STORED", huggingface_hub.get_token() == {token!r})
"""
    out = script(code.format(token=hub["token"]), tmp_path, hub["url"])
    assert "STORED True" in out and hub["token"] not in out.replace("STORED", "")
    command = [sys.executable, "-m", "pinfold", "push", "nowhere", "--repo", "local/x", "--checkpoint", "nowhere"]
    environment = clean_environment(tmp_path / "home", HF_ENDPOINT=hub["url"], PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "nowhere: no such folder" in done.stderr and hub["token"] not in done.stderr
