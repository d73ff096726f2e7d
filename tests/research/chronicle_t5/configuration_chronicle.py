from typing import Any, Dict, Optional

from transformers import T5Config


class ChronicleConfig(T5Config):
    """T5 with a bin tokenizer."""

    model_type = "chronicle"

    def __init__(self, chronicle_config: Optional[Dict[str, Any]] = None, **kwargs):
        super().__init__(**kwargs)
        self.chronicle_config = chronicle_config or {
            "low_limit": -15.0,
            "high_limit": 15.0,
            "n_special_tokens": 2,
            "prediction_length": 64,
            "num_samples": 20,
        }
