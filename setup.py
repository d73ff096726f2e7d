"""A wheel holds copies of the two model folders that the builder draws; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithModelFolders(build_py):
    """Copies bert_model and decoder_model to pinfold/models, where an installed package looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout itself has them
            return
        root = Path(__file__).parent
        for name in ("bert_model", "decoder_model"):
            target = Path(self.build_lib, "pinfold", "models", name)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for path in sorted((root / name).iterdir()):
                if path.suffix in (".py", ".json", ".md"):
                    shutil.copyfile(path, target / path.name)


setup(cmdclass={"build_py": WithModelFolders})
