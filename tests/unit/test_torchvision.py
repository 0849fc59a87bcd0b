"""What the one import of torchvision relies on, in torch and in torchvision; a new release of either may end it."""

import ast
import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from descbench.models.torchvision_cpu import COMPILER, OPERATORS, SCHEMA, models

TORCHVISION = Path(find_spec("torchvision").origin).parent
LOOKED_AT = """
import sys
import torch
from descbench.models import torchvision_cpu as ours
schema = lambda name: str(getattr(torch.ops.torchvision, name).default._schema)
"""


def looked_at(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own after our import; a torchvision in ``folder`` goes before the installed one."""
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n" if folder else ""
    command = [sys.executable, "-c", f"{path}{LOOKED_AT}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def torchvision(folder: Path, code: str) -> Path:
    """A torchvision that runs this code when it is imported."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision/__init__.py").write_text(f"import torch\n{code}\n")
    (folder / "torchvision/models.py").write_text("found = True\n")
    return folder


def shapes(*names: str) -> str:
    """Code that registers shape functions, as torchvision's does."""
    return "\n".join(f"torch.library.register_fake('torchvision::{name}')(lambda *values: values[0])" for name in names)


def test_the_installed_torchvision():
    """Models are there, both operators are declared, and the compiler is not imported before it is asked."""
    code = f"""
assert {COMPILER!r} not in sys.modules and "torch._dynamo" not in sys.modules
assert ours.models.resnet18(weights=None)
for name in ours.OPERATORS:
    assert schema(name).replace("torchvision::" + name, "") == ours.SCHEMA, schema(name)
from torchvision.ops import roi_align
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
assert asked is torch._dynamo.utils.is_compile_supported("cpu")
"""
    done = looked_at(code)
    assert done.returncode == 0, done.stderr
    assert models.vgg16


def test_operators_that_torchvision_registers_shapes_for():
    """Those it registers whether or not its compiled operators are there."""
    tree = ast.parse((TORCHVISION / "_meta_registrations.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    registered = [call.args[0].value for call in calls if ast.unparse(call.func) == "torch.library.register_fake"]
    assert registered == [f"torchvision::{name}" for name in OPERATORS]


def test_what_torchvision_wants_of_the_compiler():
    """One function of one parameter, in one module."""
    wanted = []
    for path in TORCHVISION.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch._dynamo"):
                wanted.append((path.name, node.module, [name.name for name in node.names]))
            elif isinstance(node, ast.Import) and any(name.name.startswith("torch._dynamo") for name in node.names):
                wanted.append((path.name, ast.unparse(node), []))
    assert wanted == [("roi_align.py", COMPILER, ["is_compile_supported"])]
    from torch._dynamo.utils import is_compile_supported

    assert list(inspect.signature(is_compile_supported).parameters) == ["device_type"]


def test_a_torchvision_without_its_operators(tmp_path):
    done = looked_at(
        "assert ours.models.found; print(*map(schema, ours.OPERATORS), sep='\\n')",
        torchvision(tmp_path, shapes(*OPERATORS)),
    )
    assert done.stdout.splitlines() == [f"torchvision::{name}{SCHEMA}" for name in OPERATORS], done.stderr


def test_a_torchvision_with_its_operators_is_left_alone(tmp_path):
    own = "torch.library.define('torchvision::nms', '(Tensor own) -> Tensor')\n" + shapes("nms")
    done = looked_at(
        "assert ours.models.found; print(schema('nms'), hasattr(torch.ops.torchvision, 'qnms'))",
        torchvision(tmp_path, own),
    )
    assert done.stdout == "torchvision::nms(Tensor own) -> Tensor False\n", done.stderr


@pytest.mark.parametrize("name", ["roi_align", "qnms"])
def test_a_torchvision_that_needs_another_operator(tmp_path, name):
    """Torch's own message says which; ours declares nothing for it."""
    done = looked_at("", torchvision(tmp_path, shapes(name)))
    assert done.returncode == 1
    assert f"operator torchvision::{name} does not exist" in done.stderr


def test_a_torchvision_that_fails_otherwise(tmp_path):
    done = looked_at("", torchvision(tmp_path, "raise RuntimeError('no such luck')"))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "RuntimeError: no such luck")


def test_a_torchvision_that_wants_more_of_the_compiler(tmp_path):
    """It gets the real thing, and the stand-in is gone."""
    more = "from torch._dynamo.utils import counters, is_compile_supported"
    code = """
import torchvision, torch._dynamo.utils
assert torchvision.counters is torch._dynamo.utils.counters
assert type(torch._dynamo.utils) is type(sys)
"""
    done = looked_at(code, torchvision(tmp_path, more))
    assert done.returncode == 0, done.stderr
