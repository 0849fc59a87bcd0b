"""YAML is read strictly and in bounded time; what is refused is named with its file and line."""

import os

import pytest
import yaml

from descbench.config.yaml_files import read_yaml
from descbench.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "mine.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def laughs(opening: str, closing: str, join: str) -> str:
    """Nine lines that stand for ten to the ninth values."""
    lines = [f"a0: &a0 {opening}{join.format(0)}{closing}"]
    for level in range(1, 10):
        inside = ", ".join([join.format(i).replace("x", f"*a{level - 1}") for i in range(10)])
        lines.append(f"a{level}: &a{level} {opening}{inside}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"device: \xff\xfecpu\n", "mine.yaml, line 1: byte 0xff is not UTF-8"),
        ("device: cpu\n  seed: 1\n", "mine.yaml, line 2: not valid YAML: mapping values are not allowed"),
        ("device: cpu\n\tseed: 1\n", "mine.yaml, line 2: not valid YAML"),
        ("a: 1\nb: [1, 2\n", "line 3: not valid YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: 1\nb: *nowhere\n", "line 2: not valid YAML: found undefined alias"),
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]\n",
            "line 2: not valid YAML: could not determine a constructor",
        ),
        ("- a\n- b\n", "must be a mapping of sections (`key: value`), is a list"),
        ("just words\n", "is a str"),
        ("a: 1\n---\nb: 2\n", "line 2: not valid YAML: expected a single document"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}\n", "line 2: key c is written twice"),
        ("a: 1\non: {b: 1}\n", "line 2: key on is not text (YAML reads yes, no, on, off"),
        (
            "methods:\n  2021-01-01: {}\n",
            "line 2: key 2021-01-01 is not text (YAML reads it as a date); put it in quotes",
        ),
        ("methods:\n  1.5: {}\n", "line 2: key 1.5 is not text (YAML reads it as a number)"),
        ("methods:\n  ~: {}\n", "line 2: key ~ is not text (YAML reads it as null)"),
        ("methods:\n  ? [a]\n  : 1\n", "line 2: a key must be text, not a list"),
        ("a: 1\nseed: " + "9" * 5000, "line 2: a number of 5000 characters"),
        ("seed: 0x" + "f" * 5000, "line 1: a number of 5002 characters"),
        ("a: " + "[" * 20_000, "line 1: nested more than 50 levels deep"),
        ("a: " + "{a: " * 20_000, "line 1: nested more than 50 levels deep"),
        ("\n".join(" " * i + "a:" for i in range(500)), "line 51: nested more than 50 levels deep"),
        ("a: &a [*a]\n", "line 1: an alias stands inside what it names"),
        (laughs("[", "]", "x"), "more than 200000 values, aliases written out"),
        (laughs("{", "}", "k{}: x"), "more than 200000 values, aliases written out"),
        ("a: [" + "1, " * 300_000 + "]", "more than 200000 values"),
        ("# " + "x" * 5_000_000, "more than 4000000 bytes"),
        ("when: 2021-13-45\n", "not valid YAML: month must be in 1..12"),
    ],
)
def test_refused_with_the_line(write, content, expected):
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_folder_given_as_file(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; name a configuration file in it"):
        read_yaml(tmp_path)


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="is a named pipe, a socket or a device; name a configuration file"):
        read_yaml(tmp_path / "mine.yaml")


def test_name_that_no_file_can_have():
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml("a\0b.yaml")


@pytest.mark.parametrize("content", ["", "# nothing\n", "null\n", "\ufeff"])
def test_empty_file(write, content):
    assert read_yaml(write(content)) == {}


def test_byte_order_mark(write):
    assert read_yaml(write(b"\xef\xbb\xbfdevice: cpu\n")) == {"device": "cpu"}


MERGED = """
base: &base {n: 1000, top_k: 10}
other: &other {top_k: 20, dim: 4}
deep: {in: {here: &here {<<: *base, n: 5}}}
methods:
  one: {<<: *base, n: 200}
  two: {<<: [*base, *other]}
  three: {<<: *here, top_k: 30}
"""


def test_merge_keys(write):
    """What a block writes itself goes before what it merges, and of several the first."""
    content = read_yaml(write(MERGED))
    assert content["deep"]["in"]["here"] == {"n": 5, "top_k": 10}
    assert content["methods"] == {
        "one": {"n": 200, "top_k": 10},
        "two": {"n": 1000, "top_k": 10, "dim": 4},
        "three": {"n": 5, "top_k": 30},
    }
    assert content == yaml.safe_load(MERGED)


def test_merge_of_what_is_no_mapping(write):
    with pytest.raises(ConfigError, match="line 1: not valid YAML: while constructing a mapping expected a mapping"):
        read_yaml(write("a: &a [1]\nb: {<<: *a}\n"))


def test_a_key_twice_beside_a_merge(write):
    with pytest.raises(ConfigError, match="line 2: key n is written twice"):
        read_yaml(write("a: &a {n: 1}\nb: {<<: *a, n: 2, n: 3}\n"))
