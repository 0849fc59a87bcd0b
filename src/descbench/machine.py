"""Whether this machine has what jobs will need, asked before Snakemake deletes the files that they would make anew.

Light on purpose: torch is asked in a process of its own, and only where the answer matters.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable

from descbench.config.models import Backend, Config
from descbench.errors import ConfigError

_PACKAGES: dict[Backend, str] = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
_COUNT = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


def check_machine(config: Config, rules: Iterable[str], *, gpu_rules: Iterable[str]) -> None:
    """Refuse a run whose jobs would fail for want of a GPU or of a backend's package.

    Args:
        config: says where networks run.
        rules: of the jobs that would run on this machine.
        gpu_rules: rules that ask for a GPU.

    Raises:
        ConfigError: what is missing, and which key asked for it.
    """
    rules = set(rules)
    package = _PACKAGES.get(config.backend)
    if "extract_features" in rules and package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"backend: {config.backend} was asked for, but {package} is not installed: "
            "`pip install -r requirements/backends.txt`, or set `backend: torch`. Nothing was touched."
        )
    network = rules & set(gpu_rules)
    several = config.training_gpus > 1 and "train_checkpoint" in rules and config.device != "cpu"
    if not network or not (config.device == "cuda" or several):
        return
    found = count_gpus()
    if config.device == "cuda" and not found:
        raise ConfigError(
            f"device: cuda was asked for, but torch sees no CUDA device, and {', '.join(sorted(network))} needs one; "
            "set `device: auto` or `cpu`. Nothing was touched."
        )
    if several and 0 < found < config.training_gpus:
        raise ConfigError(
            f"training_gpus: {config.training_gpus} were asked for, but torch sees {found}; lower it. "
            "Nothing was touched."
        )


def count_gpus() -> int:
    """CUDA devices that torch sees; 0 where it cannot be asked."""
    answer = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else 0
