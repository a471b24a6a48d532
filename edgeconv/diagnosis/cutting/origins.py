"""Where operators are defined that are not PyTorch's own: whoever reads a program with them must define them first."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable
from pathlib import Path

from torch._library.custom_ops import OPDEFS
from torch._ops import OpOverload

__all__ = ["find_origins"]

# What `import torch` defines, beside what it defines as anybody would.
_BUILT_IN = frozenset(
    (
        "_c10d_functional",
        "_quantized",
        "aten",
        "coor",
        "export",
        "higher_order",
        "inductor",
        "mkl",
        "mkldnn",
        "onednn",
        "prim",
        "prims",
        "profiler",
        "quantized",
        "rngprims",
        "sparse",
    )
)


def find_origins(targets: Iterable[object]) -> list[dict[str, str]]:
    """The modules that define the operators among some targets.

    Returns:
        For each operator `operator`, `module`, and `folder`, from which the module is imported: empty where it is
        installed; `module` is empty where nobody knows who defined the operator, or a program did that was run.
    """
    names = {
        target._schema.name
        for target in targets
        if isinstance(target, OpOverload) and target.namespace not in _BUILT_IN
    }
    return [{"operator": name, **_find_origin(name)} for name in sorted(names)]


def _find_origin(name: str) -> dict[str, str]:
    definition = OPDEFS.get(name)
    if definition is not None:
        function = definition._init_fn
        return _locate(function.__module__, inspect.getsourcefile(function))
    # Packages that register in C++ name the operators as they are named themselves.
    package = name.partition("::")[0]
    is_package = importlib.util.find_spec(package) is not None
    return {"module": package if is_package else "", "folder": ""}


def _locate(module: str, file: str | None) -> dict[str, str]:
    if module == "__main__" or file is None:
        return {"module": "", "folder": ""}
    path = Path(file).resolve()
    depth = module.count(".") + (path.name == "__init__.py")
    folder = path.parents[depth]
    is_installed = folder.name in ("site-packages", "dist-packages")
    return {"module": module, "folder": "" if is_installed else str(folder)}
