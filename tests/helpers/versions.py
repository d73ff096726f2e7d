"""The releases of transformers that tests load published models in.

By default the two ends of the minimum matrix; ``make sweep`` sets ALL_VERSIONS for those between. The push of a model
with its tokenizer, and the corpus of folders that verification refuses, go through all four in every run of test-all.
"""

import os

ENDS = ("4.48.3", "newest")
ALL = ("4.48.3", "4.57.6", "5.0.0", "newest")
VERSIONS = ALL if os.environ.get("ALL_VERSIONS") else ENDS
