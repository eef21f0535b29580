"""Is all that git knows in a source distribution?

Takes the folder that it was unpacked to, and fails with the names of what is missing.
"""

import subprocess
import sys
from pathlib import Path

#: What only git reads.
NOT_NEEDED = {".gitattributes", ".gitignore"}

#: Where files are, and what is made in there.
FOLDERS = ["benchmarks", "docs", "examples", "skae", "tests"]
BUILT = {"__pycache__", "_build", "gallery", "generated"}


def known_to_git():
    """The files that git knows; without git, those of the folders that it would know."""
    command = ["git", "ls-files"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        paths = [path for folder in FOLDERS for path in Path(folder).rglob("*.*")]
        known = [str(path) for path in paths if path.suffix in {".py", ".rst", ".md"}]
        return [name for name in known if not BUILT.intersection(Path(name).parts)]
    return listed.stdout.splitlines()


def main(folder):
    known = {*known_to_git()} - NOT_NEEDED
    missing = sorted(name for name in known if not (Path(folder) / name).exists())
    if missing:
        sys.exit("\n".join(missing))
    print(f"{len(known)} files, all of them in the source distribution")


if __name__ == "__main__":
    main(*sys.argv[1:])
