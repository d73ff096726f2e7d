"""Where passwords, keys and tokens are kept, and what is kept of a user beside them."""

import re

# Paths and variables in which passwords, keys and tokens are kept.
SECRET_PLACES = re.compile(
    r"(?:^|[/\\~])\.(?:ssh|aws|netrc|gnupg|kube|azure|docker|git-credentials|pypirc|npmrc|boto|pgpass|\w+_history"
    r"|config/(?:gcloud|gh|git|wandb|hub|rclone)|cache/huggingface|bashrc|profile|zshrc|env|kaggle|mozilla|vault-token"
    r"|s3cfg|databrickscfg|cargo/credentials(?:\.toml)?|local/share/keyrings|password-store|gitconfig|lesshst|viminfo"
    r"|condarc|dockercfg|terraform\.d|oci|bitcoin|ethereum|thunderbird|config/(?:google-chrome|chromium|BraveSoftware))"
    r"(?:[/\\]|$)|\$HF_HOME[/\\](?:token|stored_tokens)|fish_history|cookies\.sqlite|Library/Keychains"
    r"|^_?netrc$|id_rsa|id_ed25519|huggingface[/\\](?:token|stored_tokens)|/etc/(?:passwd|shadow|sudoers)"
    # of a process; "1" also where the number or the name is computed, "*" for any
    r"|/proc/(?:self|thread-self|[\d*?\[\]-]+)(?:/task/[^/]+)?/(?:environ|s?maps|mem|map_files|fd|root|cwd|1)\b"
    r"|/proc/[\d*?\[\]-]+/(?:cmdline|exe)\b|\.git-credentials|authorized_keys|169\.254\.169\.254|/var/run/docker",
    re.IGNORECASE,
)
SECRET_VARIABLES = re.compile(
    r"TOKEN|KEY|SECRET|PASS|CRED|AUTH|COOKIE|AWS_|AZURE_|GCP|GOOGLE_|SSH|HF_|HUGGING|WANDB|OPENAI|GITHUB|PRIVATE|DSN",
    re.IGNORECASE,
)
