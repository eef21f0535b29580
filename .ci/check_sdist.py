"""Is all that git knows in a source distribution?

Takes the folder that it was unpacked to, and fails with the names of what is missing.
"""

import subprocess
import sys
from pathlib import Path

#: What only git reads.
NOT_NEEDED = {".gitignore"}


def main(folder):
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True
    )
    known = {*listed.stdout.splitlines()} - NOT_NEEDED
    missing = sorted(name for name in known if not (Path(folder) / name).exists())
    if missing:
        sys.exit("\n".join(missing))
    print(f"{len(known)} files, all of them in the source distribution")


if __name__ == "__main__":
    main(*sys.argv[1:])
