"""P50 of parts: a module of transformers that a folder's class calls with arguments that a release does not take."""

import pytest
from corpus.net_folder import findings

from pinfold.audit.finding import ERROR, WARNING
from pinfold.folder.releases import release_ranges

IMPORTS = "from transformers.models.vit.modeling_vit import ViTEncoder, ViTModel\n\n\n"
OWN = IMPORTS + "class Seen(ViTModel):\n    def forward(self, x):\n        return {}\n\n\n"
CALL = "self.encoder(x, output_attentions=False)"
BUILDS = "self.inside = Seen(config)"


def said(tmp_path, layers, build=BUILDS, more=""):
    return findings(tmp_path, "P50", layers, build, more)


@pytest.mark.parametrize(
    ("layers", "more"),
    [
        (OWN.format(CALL), ""),  # what ViTModel builds
        (
            OWN.format("self.encode(x)").replace(
                "    def", f"    def encode(self, x):\n        return {CALL}\n\n    def"
            ),
            "",
        ),
        (OWN.format(CALL).replace("def forward(self, x)", "def look(self, x)"), ""),
        (IMPORTS, f"def look(self, x):\n        return {CALL}"),  # what the folder builds
    ],
)
def test_a_part_that_takes_something_else(tmp_path, layers, more):
    build = BUILDS if "Seen" in layers else "self.encoder = ViTEncoder(config)"
    (finding,) = said(tmp_path, layers, build, more)
    assert "ViTEncoder takes no output_attentions" in finding.sentence
    assert release_ranges(finding.releases) == "4.56-5.3"
    assert finding.severity == (ERROR if "forward" in layers else WARNING)


@pytest.mark.parametrize(
    "layers",
    [
        OWN.format("self.encoder(x)"),
        OWN.format("self.layernorm(x, output_attentions=False)"),  # of torch
        OWN.format("self.encoder(x, **{'output_attentions': False})"),
        OWN.format("self.look(x)").replace(
            "    def",
            "    def look(self, x):\n        try:\n            return "
            f"{CALL}\n        except TypeError:\n            return x\n\n    def",
        ),
        OWN.format(CALL).replace(
            "    def", "    def encoder(self, x, output_attentions):\n        return x\n\n    def"
        ),
    ],
)
def test_parts_that_take_what_they_are_given(tmp_path, layers):
    assert said(tmp_path, layers) == []
