"""Write the lists of packaged files in MMHVAESynthesis/CMakeLists.txt from the files that are there.

Slicer packages what these lists name and nothing else. After adding, moving or removing a file of the module::

    python3 Testing/extension/update_file_lists.py
"""

import re
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "MMHVAESynthesis"
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def _list_pattern(name):
    return re.compile(rf"(?<=set\({name}\n)(.*?)(?=^  \)$)", re.DOTALL | re.MULTILINE)


def listed(text, name):
    """Return the files that the list ``name`` of a CMakeLists.txt names, in its order."""
    return _list_pattern(name).search(text).group(1).split()


def packaged(module=MODULE):
    """Return ``{list's name: sorted files}`` below ``module``; every file is packaged, save CMake's own and caches."""
    paths = [path.relative_to(module) for path in module.rglob("*") if path.is_file()]
    files = sorted(
        path.as_posix()
        for path in paths
        if not any(part == "__pycache__" or part.startswith(".") for part in path.parts)
    )
    files.remove("CMakeLists.txt")
    return {
        SCRIPTS: [name for name in files if name.endswith(".py")],
        RESOURCES: [name for name in files if not name.endswith(".py")],
    }


def main():
    """Rewrite both lists."""
    path = MODULE / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    for name, files in packaged().items():
        lines = "".join(f"  {file}\n" for file in files)
        text = _list_pattern(name).sub(lambda match, lines=lines: lines, text, count=1)
        print(f"{name}: {len(files)} files")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


if __name__ == "__main__":
    main()
