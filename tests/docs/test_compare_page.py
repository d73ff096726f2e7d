"""The commands of docs/compare.md run, and print what the page shows."""

import subprocess
import sys

import pytest
from helpers.pages import block
from helpers.processes import ROOT, clean_environment

pytestmark = pytest.mark.slow


def test_the_table_of_the_page_is_what_is_printed(pinfold):
    """But for the differences, which are roundings of a machine."""
    arguments = block("compare", "bash", "pinfold compare").split()[1:]
    done = pinfold(*arguments[: arguments.index("--picture")], "--no-measure")
    assert done.returncode == 0, done.stderr

    def computed(text):
        return [
            line.split()[:-2]
            for line in text.splitlines()
            if line.startswith(("full ", "local ", "strided ", "random "))
        ]

    shown = computed(block("compare", "text", "layers until"))
    assert len(shown) == 4 and shown == computed(done.stdout)


def test_the_picture_is_drawn_by_the_command_of_the_page(tmp_path, monkeypatch):
    """At a length that takes seconds. In this process, which has matplotlib wherever it was installed."""
    pytest.importorskip("matplotlib")
    from pinfold.cli.main import main

    monkeypatch.chdir(tmp_path)
    arguments = block("compare", "bash", "pinfold compare").replace("4096", "256").split()[1:]
    assert main([*arguments, "--repeats", "2"]) == 0
    assert (tmp_path / "compare.png").read_bytes()[:4] == b"\x89PNG"
    assert (ROOT / "docs" / "compare.png").stat().st_size < 150_000


def test_the_python_snippet_prints_what_local_sees(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", block("compare", "python", "Settings(")], cwd=tmp_path, capture_output=True, text=True,
        env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert done.stdout.startswith("0.0624") and " 32\n" in done.stdout, done
    assert "local: sees 6.2 % of the pairs, " in done.stdout and "after 32 layers" in done.stdout


def test_the_sentences_of_the_page_have_the_form_of_what_is_printed():
    """The numbers of a machine are left out."""
    from pinfold.builder.attention.settings import Settings

    text = " ".join(block("compare", "text", "local: sees").split())
    for kind, share in (("local", "3.1 %"), ("strided", "6.3 %"), ("random", "1.6 %")):
        assert f"{kind}: sees {share} of the pairs, " in text
    assert f"at {Settings(()).length:,} tokens" in text and " of full attention's time " in text
