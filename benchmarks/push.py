"""What a verified push costs beside the bare upload of the same files, on the embedded Hub of this machine.

    python benchmarks/push.py

Pairs of both in one run, alternating; prints medians and their ratio. The bare upload is one create_commit of the
files that a push stages, by huggingface_hub, without a look before or after.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import huggingface_hub
import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pinfold.folder.model_folder import read_folder  # noqa: E402
from pinfold.remote import destination  # noqa: E402
from pinfold.staging.stage import stage  # noqa: E402
from resnet_model.configuration_resnet import ResnetConfig  # noqa: E402
from resnet_model.image_processing_resnet import ResnetImageProcessor  # noqa: E402
from resnet_model.modeling_resnet import ResnetModelForImageClassification  # noqa: E402

PAIRS = 5


def main() -> None:
    """Time both and print a table."""
    huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    huggingface_hub.utils.disable_progress_bars()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        checkpoint, staged = work / "resnet50", work / "staged"
        ResnetModelForImageClassification(ResnetConfig()).save_pretrained(checkpoint)
        ResnetImageProcessor().save_pretrained(checkpoint)
        staged.mkdir()
        files = stage(read_folder(ROOT / "resnet_model"), checkpoint, staged)
        size = sum((staged / name).stat().st_size for name in files.files)
        with destination.running(work / "hub") as server:
            endpoint = f"http://127.0.0.1:{server['port']}"
            api = huggingface_hub.HfApi(endpoint=endpoint, token=server["token"])
            environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_TOKEN": server["token"]}
            bare, verified = [], []
            for i in range(PAIRS):
                started = time.perf_counter()
                api.create_repo(f"local/bare-{i}")
                operations = [huggingface_hub.CommitOperationAdd(n, str(staged / n)) for n in files.files]
                api.create_commit(f"local/bare-{i}", operations, commit_message="bare")
                bare.append(time.perf_counter() - started)
                command = [sys.executable, "-m", "pinfold", "push", ROOT / "resnet_model", "--checkpoint", checkpoint]
                command += ["--repo", f"local/verified-{i}", "--endpoint", endpoint]
                started = time.perf_counter()
                subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True)
                verified.append(time.perf_counter() - started)
                print(f"pair {i + 1} of {PAIRS}: {bare[-1]:.2f} s, {verified[-1]:.2f} s", flush=True)
    b, v = statistics.median(bare), statistics.median(verified)
    libraries = (torch, transformers, huggingface_hub)
    print(f"{size / 1e6:.0f} MB, float32, medians of {PAIRS} pairs; {os.cpu_count()} cores, {platform.machine()}")
    print(", ".join(f"{library.__name__} {library.__version__}" for library in libraries))
    print(f"bare upload {b:.2f} s, verified and pinned push {v:.1f} s: {v - b:.1f} s more, ratio {v / b:.0f}")


if __name__ == "__main__":
    main()
