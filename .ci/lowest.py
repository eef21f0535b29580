"""The lowest versions that pyproject.toml lets users have, as pip takes constraints."""

import re
import sys
import tomllib
from pathlib import Path


def main(path):
    project = tomllib.loads(Path(path).read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    users = [
        extras[name] for name in extras if name not in ("check", "docs", "test", "tools")
    ]
    for one in sorted(
        {one for group in (project["dependencies"], *users) for one in group}
    ):
        if found := re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", one):
            print("{}=={}".format(*found.groups()))


if __name__ == "__main__":
    main(*sys.argv[1:])
