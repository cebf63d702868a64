"""Take the machine's name and folders out of pytest's XML, which is read elsewhere: python forget_paths.py FILE."""

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from companion.common.files import replacing


def forget(text, folders):
    """The same without hostname="..." and with paths relative to the first of these folders that holds them."""
    text = re.sub(r' hostname="[^"]*"', "", text)
    for folder in folders:
        text = text.replace(escape(f"{folder}/", {'"': "&quot;"}), "")
    return text


def main(path):
    """Rewrite a file in place."""
    text = Path(path).read_text(encoding="utf-8")
    with replacing(Path(path)) as stream:
        stream.write(forget(text, (Path.cwd(), sys.prefix, Path.home())).encode())


if __name__ == "__main__":
    main(sys.argv[1])
