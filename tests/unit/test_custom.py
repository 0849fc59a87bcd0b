"""Networks of one's own: what they may give, and what is said where they give something else."""

import numpy as np
import pytest
import torch
from PIL import Image

from descbench.bundle.bundle_table import _own_code
from descbench.bundle.contents import CellFiles, TableFiles
from descbench.config.features import GlobalFeatures, LocalFeatures
from descbench.config.load import load_config, load_config_files
from descbench.config.networks import CustomModel
from descbench.custom_modules import find_module, import_callable, module_files
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import ConfigError, DataError
from descbench.features.describe_patches import network_describer
from descbench.features.extract import extract_features
from descbench.features.extractor import Network
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.features.strips import extract_strip
from descbench.io.digests import sha256_file
from descbench.lineage import Lineage
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.custom import CustomGlobalNet, CustomLocalNet, build_custom
from descbench.models.export import export_network
from descbench.plan import Plan
from descbench.table_kinds import KINDS

MODULE = """
import torch
from torch import nn


class Local(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layer = nn.Conv2d(3, dim, 8, 8)

    def forward(self, image):
        maps = self.layer(image)
        return maps, maps.norm(dim=1)[0]


class Global(Local):
    def forward(self, image):
        return self.layer(image).mean((2, 3))


class Odd(Local):
    def forward(self, image):
        return self.layer(image)


def no_module():
    return 3


def broken(size):
    return nn.Linear(size, "two")


class Late(Local):
    def forward(self, image):
        raise ValueError("no such layer")


number = 3


class OfPatches(nn.Module):
    def __init__(self, side, channels=1, factor=1.0):
        super().__init__()
        self.side, self.channels = side, channels
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, patches):
        assert patches.shape[1:] == (self.channels, self.side, self.side)
        return self.factor * patches.sum(1).mean(2)


# Right for the examples that a network is asked when it is built, and wrong for what comes.
class Fickle(nn.Module):
    def __init__(self, gives, wrong):
        super().__init__()
        self.gives, self.wrong, self.layer = gives, wrong, nn.Conv2d(3, 8, 8, 8)

    def forward(self, pixels):
        if self.gives == "patches":
            found, right = pixels.mean(2).flatten(1), len(pixels) == 2
        else:
            maps = self.layer(pixels)
            right = pixels.shape[-1] == 128
            found = maps.mean((2, 3)) if self.gives == "global" else (maps, maps.norm(dim=1)[0])
        return found if right else WRONG[self.wrong](found)


def fail(found):
    raise ArithmeticError("no root")


WRONG = {
    "raises": fail,
    "nan": lambda found: found * float("nan"),
    "pair": lambda found: (found, found),
    "single": lambda found: found[0],
    "whole numbers": lambda found: found.int(),
    "short": lambda found: found[:, :7],
    "small attention": lambda found: (found[0], found[1][:-1]),
    "times their number": lambda found: found * len(found),
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a module of the user's, who stands in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_networks", raising=False)
    (tmp_path / "my_networks.py").write_text(MODULE)
    return tmp_path


def own(name, **more):
    return CustomModel(architecture="custom", factory=f"my_networks:{name}", **more)


def convert(folder, model):
    convert_checkpoint(model, model.weights.file, folder / "net.pt", seed=3)
    return load_network(folder / "net.pt", model)


def extract(folder, model, settings):
    generator = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(generator.integers(0, 255, (64, 80, 3), np.uint8)).save(folder / f"{number}.png")
    write_manifest(Manifest(tuple(rows_of("database", ["0.png", "1.png"]))), folder / "m.csv")
    convert(folder, model)
    shard = ShardSpec.read(folder / "m.csv", "database", 0, 2, features="f" * 64)
    networks = {settings.model: Network(folder / "net.pt", model)}
    extract_features(shard, folder, networks, settings, folder / "shard.h5", device="cpu", workers=0)
    with ShardReader(folder / "shard.h5") as reader:
        return reader.read()


def test_kinds_of_networks():
    local, whole = build_custom(own("Local", arguments={"dim": 6})), build_custom(own("Global", arguments={"dim": 5}))
    assert (type(local), local.dim, local.stride) == (CustomLocalNet, 6, 8)
    assert (type(whole), whole.dim) == (CustomGlobalNet, 5)


def test_weights_follow_the_seed_and_survive_the_checkpoint(here):
    model = own("Local", arguments={"dim": 6}, mean=(0.1, 0.2, 0.3))
    first, second = convert(here, model), convert(here, model)
    assert first.mean == [0.1, 0.2, 0.3]
    assert torch.equal(first.module.layer.weight, second.module.layer.weight)


def test_weights_of_a_file(here):
    state = build_custom(own("Global", arguments={"dim": 5})).module.state_dict()
    torch.save({key: torch.full_like(value, 0.5) for key, value in state.items()}, here / "weights.pt")
    model = own("Global", arguments={"dim": 5}, weights={"source": "custom", "file": here / "weights.pt"})
    assert (convert(here, model).module.layer.weight == 0.5).all()
    torch.save({"other": torch.zeros(1)}, here / "weights.pt")
    with pytest.raises(DataError, match=r"weights\.pt: key 'layer\.weight' \(5, 3, 8, 8\) is missing"):
        convert(here, model)


WRAPPED = {
    "as it is": lambda state: state,
    "DataParallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "Lightning": lambda state: {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state.items()}, "loops": {}},
    "Lightning and DataParallel": lambda state: {"state_dict": {f"model.module.{k}": v for k, v in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "model": lambda state: {"model": {"state_dict": state}, "best": 0.5},
    "beside other tensors": lambda state: {"step": torch.tensor(3), "net": state},
}


@pytest.mark.parametrize("wrapped", sorted(WRAPPED))
def test_weights_under_other_names(here, wrapped):
    state = build_custom(own("Global", arguments={"dim": 5})).module.state_dict()
    torch.save(WRAPPED[wrapped]({key: torch.full_like(value, 0.5) for key, value in state.items()}), here / "w.pth")
    model = own("Global", arguments={"dim": 5}, weights={"source": "custom", "file": here / "w.pth"})
    assert (convert(here, model).module.layer.weight == 0.5).all()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (
            {"module.stem.weight": torch.zeros(2), "module.stem.bias": torch.zeros(2)},
            r"has module\.stem\.weight, module\.stem",
        ),
        (
            {"state_dict": {"layer.weight": "text", "layer.bias": torch.zeros(5)}},
            r"'layer\.weight' is a str, no tensor",
        ),
        ({"epoch": 3, "hyper": {"lr": 0.1}}, r"no dictionary of tensors in this checkpoint \(it has epoch, hyper\)"),
    ],
)
def test_weights_that_do_not_fit_show_what_is_there(here, content, match):
    torch.save(content, here / "w.pth")
    with pytest.raises(DataError, match=rf"w\.pth: .*{match}"):
        convert(here, own("Global", arguments={"dim": 5}, weights={"source": "custom", "file": here / "w.pth"}))


def test_local_features(here):
    settings = LocalFeatures(kind="local", model="mine", image_size=80, scales=(1.0, 0.5), max_features=30)
    block = extract(here, own("Local", arguments={"dim": 6}), settings)
    # Maps of 8 x 10 and 4 x 5 cells; the first 30 are kept, placed at centres of cells.
    assert block.descriptors.shape == (60, 6)
    assert set(block.scales.tolist()) <= {1.0, 0.5}
    whole = block.keypoints[block.scales == 1.0]
    assert np.all(whole % 8 == 4)


def test_global_features(here):
    settings = GlobalFeatures(kind="global", model="mine", image_size=80, scales=(1.0, 0.5))
    block = extract(here, own("Global", arguments={"dim": 5}), settings)
    np.testing.assert_allclose(np.linalg.norm(block.descriptors, axis=1), 1, atol=1e-6)


def test_global_networks_have_no_local_features(here):
    settings = LocalFeatures(kind="local", model="mine", image_size=80)
    with pytest.raises(ConfigError, match="model 'mine' gives no local descriptors; set `kind: global`"):
        extract(here, own("Global", arguments={"dim": 5}), settings)


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        ("my_networks:Odd", {"dim": 2}, r"gives tensors \[\(1, 2, 16, 16\)\]; wanted is \(1, D\), or"),
        ("my_networks:no_module", {}, "gave a int, not a torch module"),
        ("my_networks:absent", {}, "my_networks:absent: cannot be imported"),
        ("my_networks:number", {}, "my_networks:number: is a int, which cannot be called"),
        ("my_networks:Local", {"dims": 3}, r"models\.mine\.arguments: my_networks:Local takes \(dim\), .*'dim'"),
        ("my_networks:Local", {}, r"models\.mine\.arguments: my_networks:Local takes \(dim\), .*'dim'"),
        ("my_networks:broken", {"size": 3}, r"my_networks:broken: failed at .*my_networks\.py, line 31 \(TypeError"),
        ("my_networks:Local", {"dim": -1}, r"my_networks:Local: failed at .*my_networks\.py, line 9 \(RuntimeError"),
        (
            "my_networks:Late",
            {"dim": 2},
            r"my_networks:Late: failed on an input .* at .*my_networks\.py, line 36 \(ValueError: no such",
        ),
        ("nowhere.at_all:net", {}, "there is no module 'nowhere.at_all'; it is looked for in"),
    ],
)
def test_refused(factory, arguments, message):
    with pytest.raises(ConfigError, match=message):
        build_custom(CustomModel(architecture="custom", factory=factory, arguments=arguments), "mine")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def net(:\n", r"broken\.py, line 1 \(SyntaxError"),
        ("x = 1\nx.y\n", r"broken\.py, line 2 \(AttributeError"),
        ("import torch\n1 / 0\n", r"broken\.py, line 2 \(ZeroDivisionError"),
        ("import nowhere_at_all\n", r"broken\.py, line 1 \(ModuleNotFoundError"),
        ("import sys\nsys.exit(2)\n", r"broken\.py, line 2 \(SystemExit: 2"),
    ],
)
def test_modules_that_cannot_be_imported(here, monkeypatch, text, match):
    (here / "broken.py").write_text(text)
    monkeypatch.delitem(__import__("sys").modules, "broken", raising=False)
    __import__("importlib").invalidate_caches()
    with pytest.raises(ConfigError, match=rf"broken:net: cannot be imported at .*{match}"):
        build_custom(CustomModel(architecture="custom", factory="broken:net"))


def test_the_block_of_wrong_arguments_is_named(here):
    model = own("Local", arguments={"dims": 6})
    with pytest.raises(ConfigError, match=r"models\.net\.arguments"):
        convert_checkpoint(model, None, here / "net.pt")


def test_the_example(project, monkeypatch):
    monkeypatch.chdir(project)
    files = ("config/config.yaml", "config/demo.yaml", "examples/custom_network/config.yaml")
    config = load_config_files(*files)
    assert build_custom(config.models["colour_net"]).dim == 8 * 4**2
    before = Lineage(config).digest_features("colour_net")
    monkeypatch.setattr("descbench.lineage.sha256_file", lambda path: "0" * 64)
    assert Lineage(config).digest_features("colour_net") != before


def test_replaced_weights_and_code_are_noticed(here, project):
    """By their content, which features and provenance name."""
    torch.save({}, here / "w.pth")
    overlay = {
        "models": {"mine": own("Global", weights={"source": "custom", "file": "w.pth"}).model_dump(mode="json")},
        "features": {"mine": {"kind": "global", "model": "mine"}},
        "methods": {"mine": {"search": "inner_product", "features": "mine"}},
        "datasets": {"photos": {"format": "folder", "database": "photos"}},
    }

    def state():
        lineage = Lineage(load_config(overlay))
        return lineage.digest_features("mine"), lineage.digest_own_files_behind("mine")

    first = state()
    assert first[1]["w.pth"] == sha256_file(here / "w.pth")
    assert state() == first
    torch.save({"a": torch.zeros(1)}, here / "w.pth")
    second = state()
    assert second[0] != first[0]
    assert second[1] != first[1]
    (here / "my_networks.py").write_text(MODULE + "\n")
    assert state()[0] != second[0]
    assert Lineage(load_config(overlay)).sources_behind("mine", "photos") == []


def test_the_file_of_a_module_is_found_without_running_it(here):
    (here / "explosive.py").write_text("raise RuntimeError")
    assert find_module("explosive:net") == here / "explosive.py"


def test_modules_that_a_module_imports_are_its_own_files(here):
    """By any kind of import, in functions too; nothing is run, and what lies elsewhere is not looked at."""
    files = {
        "net.py": "import torch, parts.blocks\nfrom shared import scale\n\ndef make():\n    from late import x\n",
        "parts/__init__.py": "raise RuntimeError",
        "parts/blocks.py": "from . import deeper\nfrom ..unknown import y\nfrom .levels.top import z",
        "parts/deeper.py": "import parts.blocks  # in a circle",
        "parts/levels/__init__.py": "",
        "parts/levels/top.py": "from ..side import s",
        "parts/side.py": "",
        "parts/alone.py": "",
        "shared.py": "def half(:",
        "late.py": "",
        "others.py": "",
    }
    for name, text in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    first, *others = module_files("net:make")
    assert first == here / "net.py"
    assert {str(path.relative_to(here)) for path in others} == files.keys() - {"net.py", "parts/alone.py", "others.py"}
    assert module_files("parts.blocks:b")[0] == here / "parts/blocks.py"
    assert here / "parts/levels/top.py" in module_files("parts.blocks:b")
    (module,) = module_files("torch.nn:Linear")
    assert module.name == "__init__.py"


def test_a_change_in_a_module_behind_the_factory_is_noticed(here):
    (here / "behind.py").write_text("SCALE = 3\n")
    (here / "front.py").write_text("from behind import SCALE\n\ndef make():\n    return SCALE\n")
    overlay = {"models": {"mine": {"architecture": "custom", "factory": "front:make"}}}
    before = Lineage(load_config(overlay)).digest_own_files("mine")
    assert before.keys() == {str(here / "front.py"), str(here / "behind.py")}
    assert import_callable("front:make")() == 3
    (here / "behind.py").write_text("SCALE = 9\n")
    assert Lineage(load_config(overlay)).digest_own_files("mine") != before
    with pytest.raises(ConfigError, match=r"behind\.py changed since it was imported; start Python"):
        import_callable("front:make")


def test_bundles_hold_the_code_of_custom_networks(here):
    (here / "behind.py").write_text("SCALE = 3\n")
    (here / "front.py").write_text("from behind import SCALE\n")
    overlay = {
        "models": {"mine": {"architecture": "custom", "factory": "front:make"}},
        "features": {"mine": {"kind": "global"}, "sift": {"kind": "keypoints", "describe": "sift"}},
        "methods": {"mine": {"search": "inner_product"}, "sift": {"match": "nearest"}},
    }
    cells = tuple(CellFiles(name, "d", here / "s", None, here / "p", {}) for name in ("mine", "sift"))
    table = TableFiles("t", "T", (here / "t.csv", here / "t.md"), cells, KINDS[0], here)
    assert _own_code(Plan(load_config(overlay)), table) == [here / "front.py", here / "behind.py"]


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 1), (8, 3)])
def test_a_network_of_patches(here, side, channels):
    """Patches come in the size and with the channels of its block, in 0..1."""
    contract = {"side": side, "channels": channels, "dim": side}
    arguments = {"side": side, "channels": channels, "factor": 2.0}
    model = own("OfPatches", arguments=arguments, patches=contract)
    convert(here, model)
    patches = np.repeat(np.arange(0, 160, 20, dtype=np.uint8), 2)[None, :, None].repeat(16, 2).repeat(3, 0)
    found = network_describer(here / "net.pt", model, device="cpu")
    assert found.maker.dim == side
    expected = patches[0, :: 16 // side, 0] / 255 * 2 * channels
    assert found.describe(patches) == pytest.approx(np.tile(expected, (3, 1)), abs=1e-5)
    export_network(here / "net.pt", model, here / "out.pt")
    pixels = torch.from_numpy(patches[:, None, :: 16 // side, :: 16 // side].copy()).float() / 255
    assert torch.jit.load(str(here / "out.pt"))(pixels).numpy() == pytest.approx(np.tile(expected, (3, 1)), abs=1e-5)


def test_a_network_of_patches_keeps_to_its_contract(here):
    patches = {"side": 8, "dim": 9}
    with pytest.raises(ConfigError, match=r"patches \(2, 1, 8, 8\) give \(2, 8\); wanted by `patches.dim` is \(2, 9\)"):
        build_custom(own("OfPatches", arguments={"side": 8}, patches=patches))
    with pytest.raises(ConfigError, match=r"OfPatches: failed on .* at .*my_networks.py, line \d+ \(AssertionE"):
        build_custom(own("OfPatches", arguments={"side": 7}, patches={"side": 8, "dim": 8}))
    with pytest.raises(ValueError, match="`mean` and `std` are of images"):
        own("OfPatches", patches=patches, mean=(0.5, 0.5, 0.5))
    # Whole, as jobs are given it.
    mine = own("OfPatches", arguments={"side": 8}, patches=patches).model_dump(mode="json")
    sets = {"town": {"format": "phototour", "folder": "town", "parts": ["quay"]}}
    values = {"models": {"mine": mine}, "patch_sets": sets, "methods": {"mine": {"describe": "network"}}}
    assert load_config(values).methods["mine"].model == "mine"
    with pytest.raises(ConfigError, match="'mine' \\(custom\\) describes cut-out patches of patch sets, no images"):
        load_config({**values, "features": {"mine": {}}})
    whole = {**mine, "patches": None}
    with pytest.raises(ConfigError, match="'mine' \\(custom\\) describes no patches"):
        load_config({**values, "models": {"mine": whole}})


@pytest.mark.parametrize(
    ("gives", "wrong", "message"),
    [
        (
            "global",
            "raises",
            r"0\.png: .*Fickle: failed on an input \(1, 3, 64, 80\) at .*line \d+ \(Arith.*root",
        ),
        ("global", "nan", r"0\.png: .*NaN or infinity.*Check the network"),
        ("global", "pair", r"0\.png: .*an image \(1, 3, 64, 80\) gives tensors \[\(1, 8\), \(1, 8\)\]"),
        ("global", "whole numbers", r"0\.png: .*gives torch.int32; floating-point tensors are needed"),
        ("local", "small attention", r"0\.png: .*gives tensors \[\(1, 8, 8, 10\), \(7, 10\)\]"),
        ("local", "single", r"0\.png: .*gives tensors \[\(1, 8, 8, 10\)\]"),
    ],
)
def test_what_a_network_gives_is_asked_of_every_image(here, gives, wrong, message):
    model = own("Fickle", arguments={"gives": gives, "wrong": wrong})
    kind = GlobalFeatures if gives == "global" else LocalFeatures
    with pytest.raises((ConfigError, DataError), match=message):
        extract(here, model, kind(model="net", kind=gives, scales=[1.0]))
    assert not (here / "shard.h5").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("raises", r"Fickle: failed on an input \(5, 1, 8, 8\) at .*line \d+ \(Arithmetic"),
        ("nan", "NaN or infinity; check"),
        ("pair", r"patches \(5, 1, 8, 8\) give \(5, 8\), \(5, 8\); wanted by `patches.dim` is \(5, 8\)"),
        ("whole numbers", "gives torch.int32; floating-point tensors are needed"),
        ("short", r"give \(5, 7\)"),
    ],
)
def test_what_a_network_gives_of_patches_is_asked_each_time(here, wrong, message):
    model = own("Fickle", arguments={"gives": "patches", "wrong": wrong}, patches={"side": 8, "dim": 8})
    convert(here, model)
    Image.fromarray(np.arange(5 * 64, dtype=np.uint16).astype(np.uint8).reshape(40, 8)).save(here / "strip.png")
    with pytest.raises((ConfigError, DataError), match=message):
        extract_strip(here / "strip.png", network_describer(here / "net.pt", model, device="cpu"), here / "out.txt")
    with pytest.raises(ConfigError, match=message):
        export_network(here / "net.pt", model, here / "out.pt")
    assert sorted(path.name for path in here.iterdir() if path.name.startswith("out")) == []


def test_a_trace_that_does_something_else_is_not_exported(here):
    """How many patches there are was asked when the network was traced, on three, and never again."""
    model = own("Fickle", arguments={"gives": "patches", "wrong": "times their number"}, patches={"side": 8, "dim": 8})
    convert(here, model)
    with pytest.raises(ConfigError, match="its trace gives other descriptors than it does itself"):
        export_network(here / "net.pt", model, here / "out.pt")
