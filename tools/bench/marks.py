"""Writes generated text between the marks of a README."""

import sys


def write(path, name, text):
    """Puts `text` between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    readme = path.read_text()
    if begin not in readme or end not in readme:
        sys.exit(f"{path} has no marks of {name}")
    before, after = readme.split(begin)[0], readme.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
