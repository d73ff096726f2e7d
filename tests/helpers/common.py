"""The suite's checks under pytest, for the test file of any model folder.

    @pytest.mark.parametrize(("auto", "device", "check"), common.cases(FOLDER))
    def test_my_model(auto, device, check):
        common.ask(FOLDER, auto, device, check)

A check that does not apply is skipped with its reason; so is every check on a GPU where there is none.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from pinfold.fenced.suite import subject, table
from pinfold.folder.model_folder import read_folder

CHECKS = {table.name_of(check): check for check in table.CHECKS}


def places(folder: Path) -> dict[str, str]:
    """The model classes that a folder registers, by Auto class."""
    return {auto: place for auto, place in read_folder(folder).auto_map().items() if auto.startswith("AutoModel")}


def devices() -> list:
    """The CPU, and a GPU that is skipped where there is none."""
    absent = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
    return ["cpu", pytest.param("cuda", marks=absent)]


def cases(folder: Path, checks: list[str] | None = None) -> list:
    """Every class, device and check of a folder, for parametrize."""
    parameters = []
    for auto in places(folder):
        for device in devices():
            value, marks = (device, ()) if isinstance(device, str) else (device.values[0], device.marks)
            names = checks or CHECKS
            parameters += [pytest.param(auto, value, n, marks=marks, id=f"{auto}-{value}-{n}") for n in names]
    return parameters


@functools.cache
def prepared(folder: Path, auto: str, device: str) -> subject.Subject:
    """A class with a tiny configuration. Its models are made anew for every check, so it can be shared by them."""
    directory = tempfile.mkdtemp(prefix="suite-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    classes = subject.classes_of(str(folder), places(folder))
    return subject.prepare(str(folder), classes, auto, device, directory)


def answer(folder: Path, auto: str, device: str, check: str) -> tuple[str, str]:
    """(state, sentence) of one check."""
    return table.result(CHECKS[check], prepared(folder, auto, device))


def ask(folder: Path, auto: str, device: str, check: str) -> None:
    """Pass, fail with the check's sentence, or skip with the reason why it does not apply."""
    state, sentence = answer(folder, auto, device, check)
    if state == table.NOT_APPLICABLE:
        pytest.skip(sentence)
    if state == table.FAILED:
        pytest.fail(f"{check}: {sentence}", pytrace=False)
