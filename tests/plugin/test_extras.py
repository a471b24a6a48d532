"""The command that an error names installs all that the converter needs."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions, requires

import pytest

from edgeconv.plugin import ConverterSpec
from edgeconv.plugin.registry import Registry, install_hint
from edgeconv.testing.plain import PLAIN_SPECS


def _installed_by(extra: str) -> set[str]:
    """Distributions that an extra of edgeconv brings, with those that they need themselves."""
    wanted = {
        _name(line) for line in requires("edgeconv") or () if f'extra == "{extra}"' in _even(line)
    }
    needed = {
        _name(line) for name in wanted for line in requires(name) or () if "extra ==" not in line
    }
    return wanted | needed


def _even(line: str) -> str:
    return line.replace("'", '"')


def _name(line: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", line)
    assert match
    return match[0].lower().replace("_", "-")


@pytest.mark.parametrize("spec", Registry().converters, ids=lambda spec: str(spec.id))
def test_the_extras_of_a_converter_install_what_it_requires(spec: ConverterSpec) -> None:
    found = set().union(*map(_installed_by, spec.extra.split(",")))
    owners = packages_distributions()
    missing = [
        module for module in spec.requires if not {_name(owner) for owner in owners[module]} & found
    ]
    assert missing == []


def test_several_extras_become_one_command() -> None:
    assert install_hint(["onnx,torch", "torch", ""]) == "pip install 'edgeconv[onnx,torch]'"
    assert install_hint([PLAIN_SPECS[0].extra]) == ""
